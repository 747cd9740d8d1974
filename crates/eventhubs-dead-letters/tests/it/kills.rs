//! A process that is killed while it writes.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use eventhubs_dead_letters::DeadLetterSink as _;

use crate::{absent_file, letter, open, read};

const PATH: &str = "EVENTHUBS_DEAD_LETTERS_PATH";

/// Runs itself in another process, which writes until it is killed and says what was answered with `Ok`.
#[tokio::test]
async fn what_was_answered_is_there_after_a_kill_and_the_next_process_continues() {
    if let Some(path) = env::var_os(PATH) {
        let sink = open(path.as_ref()).await;
        let written = read(path.as_ref()).len();
        for number in written.. {
            sink.put(&letter(i64::try_from(number).unwrap())).await.unwrap();
            println!("put {number}");
        }
    }
    let (_folder, path) = absent_file();
    let mut answered = 0;
    for kill in 1..=5 {
        let mut command = Command::new(env::current_exe().unwrap());
        let test = "kills::what_was_answered_is_there_after_a_kill_and_the_next_process_continues";
        command.args(["--exact", test, "--nocapture"]).env(PATH, &path).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let puts = lines.filter_map(|line| Some(line.strip_prefix("put ")?.parse::<i64>().unwrap()));
        answered = puts.take(20 * kill).last().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let letters: Vec<_> = read(&path).into_iter().map(Result::unwrap).collect();
    assert!(letters.last() >= Some(&answered), "{letters:?}");
    assert!(letters.iter().copied().eq(0..i64::try_from(letters.len()).unwrap()), "{letters:?}");
}
