//! Several processes on one file.

use std::env;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use eventhubs_checkpoint_store::{CheckpointStore as _, Expected};

use crate::{absent_file, claim, connect, open, scope, version_of, won};

const PATH: &str = "EVENTHUBS_SQLITE_PATH";
const NUMBER: &str = "EVENTHUBS_SQLITE_NUMBER";

/// The path of the file in a process that was started by [`again`], once all of them are told to begin.
fn begun() -> Option<std::path::PathBuf> {
    let path = env::var_os(PATH)?;
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    Some(path.into())
}

/// Runs this one test in another process, which waits for a line before it begins.
fn again(test: &str, path: &Path, number: usize) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(PATH, path).env(NUMBER, number.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Lets all of them begin at once, which they do when all are there.
fn begin(processes: &mut [Child]) -> Vec<BufReader<ChildStdout>> {
    let mut outputs: Vec<_> =
        processes.iter_mut().map(|process| BufReader::new(process.stdout.take().unwrap())).collect();
    for output in &mut outputs {
        until(output, "ready");
    }
    for process in processes {
        process.stdin.take().unwrap().write_all(b"\n").unwrap();
    }
    outputs
}

/// Reads up to the line that begins so, and returns the rest of it.
fn until(output: &mut impl std::io::BufRead, start: &str) -> String {
    let mut lines = output.lines().map(Result::unwrap);
    lines.find_map(|line| line.strip_prefix(start).map(str::to_owned)).expect("the test has this name")
}

fn assert_all_succeed(processes: Vec<Child>) {
    for process in processes {
        let mut process = process;
        let mut errors = String::new();
        process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(process.wait().unwrap().success(), "{errors}");
    }
}

#[test]
fn sixteen_processes_start_at_once_on_an_absent_file() {
    if let Some(path) = begun() {
        return start_and_claim(&path);
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
async fn start_and_claim(path: &Path) {
    let number = env::var(NUMBER).unwrap();
    won(&open(path).await, &claim(&number, Some(&number), Expected::Absent)).await;
}

#[test]
fn eight_processes_make_fifty_claims_each_without_an_error() {
    if let Some(path) = begun() {
        return claim_and_renew(&path);
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
async fn claim_and_renew(path: &Path) {
    let (store, number) = (open(path).await, env::var(NUMBER).unwrap());
    for id in 0..25 {
        let record = won(&store, &claim(&format!("{number}-{id}"), Some(&number), Expected::Absent)).await;
        won(&store, &claim(&format!("{number}-{id}"), Some(&number), version_of(&record))).await;
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    if let Some(path) = begun() {
        return renew_until_killed(&path);
    }
    let (_folder, path) = absent_file();
    for _ in 0..5 {
        let mut process = [again("processes::what_was_answered_survives_a_kill", &path, 0)];
        let output = &mut begin(&mut process)[0];
        for _ in 0..50 {
            until(output, "won ");
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
async fn renew_until_killed(path: &Path) {
    let store = open(path).await;
    let found = store.list_ownership(&scope()).await.unwrap().records.pop();
    let mut expected = found.map_or(Expected::Absent, |record| version_of(&record));
    loop {
        let record = won(&store, &claim("0", Some("a"), expected)).await;
        println!("won {}", record.version.as_str());
        expected = version_of(&record);
    }
}
