//! A server that refuses to run as root, and the shell script that starts it and ends it with these tests.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use std::io::{BufRead, BufReader};

const STEP_LIMIT: Duration = Duration::from_secs(60);

/// A script that prints `ready` after its start and after each command that it reads, and ends with its input.
#[derive(Debug)]
pub(crate) struct Supervised {
    process: Child,
    commands: Option<ChildStdin>,
    answers: Option<BufReader<ChildStdout>>,
}

impl Supervised {
    /// Starts the script as the user `postgres` where this process is root, and waits until it is ready.
    pub(crate) async fn start(script: &'static str, arguments: &[&str]) -> Self {
        let mut command = if is_root() { unprivileged() } else { Command::new("sh") };
        command.args(["-c", script, "sh"]).args(arguments).current_dir("/tmp");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.expect("a shell can be started");
        let (commands, answers) = (process.stdin.take(), process.stdout.take().map(BufReader::new));
        let mut started = Self { process, commands, answers };
        started.ready().await;
        started
    }

    /// Gives a command, and waits until it is done.
    pub(crate) async fn command(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("the input is a pipe");
        writeln!(commands, "{command}").expect("the script reads its input");
        self.ready().await;
    }

    async fn ready(&mut self) {
        let mut answers = self.answers.take().expect("the last command was answered");
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let read = answers.read_line(&mut line);
            (answers, line, read)
        });
        let read =
            tokio::time::timeout(STEP_LIMIT, reading).await.expect("the server is ready within its limit");
        let (answers, line, _) = read.expect("reading a line does not panic");
        assert_eq!(line, "ready\n", "the server ends with its reason on standard error");
        self.answers = Some(answers);
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Its input ends, and so does the script, after its server.
        drop(self.commands.take());
        let _ = self.process.wait();
    }
}

fn is_root() -> bool {
    let user = Command::new("id").arg("-u").output();
    user.is_ok_and(|output| output.stdout == b"0\n")
}

fn unprivileged() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "sh"]);
    command
}

/// A port that nothing listens on. Somebody may take it before the server does; then the server says so and ends.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of the loopback interface");
    listener.local_addr().expect("the address of a listener").port()
}
