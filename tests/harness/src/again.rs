//! One test in several processes: the program of the test is started again, and runs this one test.

use std::env;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

const PLACE: &str = "EVENTHUBS_AGAIN_PLACE";
const NUMBER: &str = "EVENTHUBS_AGAIN_NUMBER";

/// What one of the processes is told.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Where they meet: a path, or a connection string.
    pub place: String,
    /// Which of them this is.
    pub number: usize,
}

/// Returns what this process is told if [`again`] started it, once all of them are told to begin; `None` in the
/// process that starts them.
///
/// # Panics
/// If that process has ended.
#[expect(clippy::print_stdout, reason = "the line is what the other process waits for")]
pub fn begun() -> Option<Begun> {
    let place = env::var(PLACE).ok()?;
    let number = env::var(NUMBER).ok()?.parse().expect("a number was given");
    println!("ready");
    io::stdin().read_line(&mut String::new()).expect("the test tells when to begin");
    Some(Begun { place, number })
}

/// Runs the test of this name in another process, which waits in [`begun`].
///
/// # Panics
/// If it cannot be started.
pub fn again(test: &str, place: &str, number: usize) -> Child {
    let mut command = Command::new(env::current_exe().expect("the program of the test has a path"));
    command.args(["--exact", test, "--nocapture"]).env(PLACE, place).env(NUMBER, number.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program of the test starts again")
}

/// Lets all of them begin at once, which they do when all are there. Returns what they say.
///
/// # Panics
/// If one of them ends before.
pub fn begin(processes: &mut [Child]) -> Vec<BufReader<ChildStdout>> {
    let outputs = processes.iter_mut().map(|process| process.stdout.take().expect("its output is piped"));
    let mut outputs: Vec<_> = outputs.map(BufReader::new).collect();
    for output in &mut outputs {
        until_said(output, "ready");
    }
    for process in processes {
        let input = process.stdin.take().expect("its input is piped");
        (&input).write_all(b"\n").expect("it reads");
    }
    outputs
}

/// Reads up to the line that begins so, and returns the rest of that line.
///
/// # Panics
/// If it never comes.
pub fn until_said(output: &mut impl BufRead, start: &str) -> String {
    let mut lines = output.lines().map(|line| line.expect("the output is text"));
    lines.find_map(|line| line.strip_prefix(start).map(str::to_owned)).expect("the test has this name")
}

/// Waits for their ends.
///
/// # Panics
/// With what it said, if one of them failed.
pub fn assert_all_succeed(processes: Vec<Child>) {
    for mut process in processes {
        let mut errors = String::new();
        let mut stderr = process.stderr.take().expect("its errors are piped");
        stderr.read_to_string(&mut errors).expect("its errors are text");
        assert!(process.wait().expect("it can be waited for").success(), "{errors}");
    }
}
