//! Several processes on one file.

use std::io::Read as _;
use std::path::Path;
use std::process::Child;

use eventhubs_checkpoint_store::{CheckpointStore as _, Expected};
use eventhubs_test_harness::{Begun, assert_all_succeed, begin, begun, until_said};

use crate::{absent_file, claim, connect, open, scope, version_of, won};

fn again(test: &str, path: &Path, number: usize) -> Child {
    eventhubs_test_harness::again(test, path.to_str().unwrap(), number)
}

#[test]
fn sixteen_processes_start_at_once_on_an_absent_file() {
    if let Some(begun) = begun() {
        return start_and_claim(&begun);
    }
    for _ in 0..5 {
        let (_folder, path) = absent_file();
        let test = "processes::sixteen_processes_start_at_once_on_an_absent_file";
        let mut processes: Vec<_> = (0..16).map(|number| again(test, &path, number)).collect();
        let outputs = begin(&mut processes);
        assert_all_succeed(processes);
        drop(outputs);
        let count = |sql| connect(&path).query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM eventhubs_schema"), 1);
        assert_eq!(count("SELECT count(DISTINCT owner_id) FROM eventhubs_ownership"), 16);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn start_and_claim(begun: &Begun) {
    let number = begun.number.to_string();
    won(&open(begun.place.as_ref()).await, &claim(&number, Some(&number), Expected::Absent)).await;
}

#[test]
fn eight_processes_make_fifty_claims_each_without_an_error() {
    if let Some(begun) = begun() {
        return claim_and_renew(&begun);
    }
    let (_folder, path) = absent_file();
    let test = "processes::eight_processes_make_fifty_claims_each_without_an_error";
    let mut processes: Vec<_> = (0..8).map(|number| again(test, &path, number)).collect();
    let outputs = begin(&mut processes);
    assert_all_succeed(processes);
    drop(outputs);
    let sql = "SELECT count(*), count(DISTINCT version), max(version) FROM eventhubs_ownership";
    let found = connect(&path).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!(found, (200_i64, 200_i64, 400_i64), "half of the claims are renewals, and each has a version");
}

#[tokio::main(flavor = "current_thread")]
async fn claim_and_renew(begun: &Begun) {
    let (store, number) = (open(begun.place.as_ref()).await, begun.number.to_string());
    for id in 0..25 {
        let record = won(&store, &claim(&format!("{number}-{id}"), Some(&number), Expected::Absent)).await;
        won(&store, &claim(&format!("{number}-{id}"), Some(&number), version_of(&record))).await;
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    if let Some(begun) = begun() {
        return renew_until_killed(&begun);
    }
    let (_folder, path) = absent_file();
    for _ in 0..5 {
        let mut process = [again("processes::what_was_answered_survives_a_kill", &path, 0)];
        let output = &mut begin(&mut process)[0];
        for _ in 0..50 {
            until_said(output, "won ");
        }
        process[0].kill().unwrap();
        process[0].wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        // The last line may be cut off in the middle.
        let whole = rest.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let answered = whole.lines().filter_map(|line| line.strip_prefix("won ")?.parse::<i64>().ok());
        let sql = "SELECT version FROM eventhubs_ownership";
        let found = connect(&path).query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert!(answered.max() <= Some(found), "version {found} is older than one that was answered");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn renew_until_killed(begun: &Begun) {
    let store = open(begun.place.as_ref()).await;
    let found = store.list_ownership(&scope()).await.unwrap().records.pop();
    let mut expected = found.map_or(Expected::Absent, |record| version_of(&record));
    loop {
        let record = won(&store, &claim("0", Some("a"), expected)).await;
        println!("won {}", record.version.as_str());
        expected = version_of(&record);
    }
}
