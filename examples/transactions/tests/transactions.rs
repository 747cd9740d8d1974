//! Each example runs and counts each event once.

use std::env;
use std::process::Command;

use eventhubs_test_harness::Postgres;

/// Runs an example, which cargo builds with the tests, and returns what it says.
fn said(name: &str, arguments: &[&str]) -> String {
    let test = env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(2).expect("a profile's folder");
    let program = target.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    let output = Command::new(program).args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn diesel_commits_events_with_their_checkpoints() {
    assert_eq!(said("diesel", &[]), "10 events are in the database\n");
}

#[tokio::test]
async fn sqlx_commits_events_with_their_checkpoints() {
    let server = Postgres::start().await;
    let (port, database) = (server.port(), server.create_database());
    let url = format!("postgres://postgres:password@127.0.0.1:{port}/{database}");
    assert_eq!(said("sqlx", &[&url]), "10 events are in the database\n");
}
