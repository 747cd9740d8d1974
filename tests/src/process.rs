//! A consumer in a process of its own that a test can kill, suspend and stop.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use eventhubs_test_harness::{seeing, until};

/// A consumer in a process of its own, and what it has said so far.
#[derive(Debug)]
pub struct Consumer {
    child: Child,
    said: Arc<Mutex<Said>>,
    reading: JoinHandle<()>,
}

/// What a consumer said about its partitions.
#[derive(Debug, Default, Clone)]
pub struct Said {
    /// The sequence numbers handled, by partition, in the order of the calls.
    pub handled: BTreeMap<String, Vec<i64>>,
    /// The last checkpoint that the store acknowledged, by partition.
    pub checkpoints: BTreeMap<String, i64>,
    /// Lines of any other kind.
    pub other: Vec<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match (words.as_slice(), words.last().and_then(|number| number.parse().ok())) {
            (["handled", partition, _], Some(number)) => {
                self.handled.entry((*partition).to_owned()).or_default().push(number);
            }
            (["checkpoint", partition, _], Some(number)) => {
                self.checkpoints.insert((*partition).to_owned(), number);
            }
            _ => self.other.push(line.to_owned()),
        }
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.handled.values().map(Vec::len).sum()
    }

    /// Demands that the events of each partition came without a gap or a repeat.
    ///
    /// # Panics
    /// With the partition and the two numbers, if they did not.
    pub fn assert_contiguous(&self, who: &str) {
        for (partition, numbers) in &self.handled {
            for pair in numbers.windows(2) {
                assert_eq!(
                    pair[1],
                    pair[0] + 1,
                    "{who}, partition {partition}: {} follows {}",
                    pair[1],
                    pair[0]
                );
            }
        }
    }
}

/// The events handled by any of them.
pub fn distinct<'a>(said: impl IntoIterator<Item = &'a Said>) -> BTreeSet<(&'a str, i64)> {
    let handled = said.into_iter().flat_map(|said| &said.handled);
    handled.flat_map(|(partition, numbers)| numbers.iter().map(move |n| (partition.as_str(), *n))).collect()
}

impl Consumer {
    /// Starts the program and listens to its lines. The process is killed when this is dropped.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the program starts");
        let output = child.stdout.take().expect("its output was asked for");
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        let reading = tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                lock(&heard).hear(&line);
            }
        });
        Self { child, said, reading }
    }

    /// What it has said so far.
    pub fn said(&self) -> Said {
        lock(&self.said).clone()
    }

    /// Waits until what it has said is enough; `what` names that, and is printed with what it said if it never is.
    #[track_caller]
    pub fn until(&self, what: &str, enough: impl Fn(&Said) -> bool) -> impl Future<Output = ()> {
        until(seeing(what, || self.said()), move || enough(&lock(&self.said)))
    }

    /// Kills it without warning, and returns all that it said.
    ///
    /// # Panics
    /// If there is nothing to kill.
    pub async fn kill(mut self) -> Said {
        self.child.kill().await.expect("it was running");
        self.last_words().await
    }

    /// Asks it to stop, waits until it has ended, and returns all that it said.
    ///
    /// # Panics
    /// If it does not end well.
    pub async fn stop(mut self) -> Said {
        self.signal("TERM").await;
        let status: ExitStatus = self.child.wait().await.expect("it can be waited for");
        let said = self.last_words().await;
        assert!(status.success(), "it ended with {status}: {:?}", said.other);
        said
    }

    /// Suspends it, as a host does that hangs.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn suspend(&self) {
        self.signal("STOP").await;
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn resume(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it is running").to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await.expect("`kill` can be run");
        assert!(sent.success(), "SIG{name} was not sent");
    }

    async fn last_words(self) -> Said {
        self.reading.await.expect("the output is read to its end");
        lock(&self.said).clone()
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}
