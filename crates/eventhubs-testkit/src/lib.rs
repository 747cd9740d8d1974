#![doc = include_str!("../README.md")]

mod event;

use std::time::Duration;

use eventhubs::testing::{Command, TestRun};
use eventhubs::{
    CheckpointStore, ConsumerClient, Error, ErrorKind, HeldBy, MemoryCheckpointStore, PartitionId, Receive,
    ReceiveReport,
};
use tokio::time::sleep;

pub use crate::event::{TestEvent, event};

/// Names an event hub that does not exist: nothing is ever contacted.
const CONNECTION_STRING: &str =
    "Endpoint=sb://test.invalid;SharedAccessKeyName=test;SharedAccessKey=dGVzdA==;EntityPath=test";

/// A paused clock moves on only when every task waits; short against any timer of a test.
const TICK: Duration = Duration::from_millis(1);

/// A run of a handler that is fed and ordered about by a test.
///
/// It has the pumps, policies and hooks of a real run. The partitions are those that the test names; each is owned until
/// the test takes it away. Checkpoints go to memory. Events come to the handler in the task of their partition, as in a
/// real run.
///
/// The clock of the runtime has to be paused: `#[tokio::test(start_paused = true)]`. Time passes only in
/// [`advance`](Self::advance), and by a millisecond in each other method.
#[derive(Debug)]
pub struct HandlerTest {
    run: TestRun,
}

/// An error that the run reported, as it went to `on_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reported {
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The partition that it is about.
    pub partition: Option<PartitionId>,
    /// The whole text, with its causes.
    pub text: String,
}

impl HandlerTest {
    /// Starts the run that `receive` makes of a client.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when an option of the run cannot be used.
    pub fn start<M>(receive: impl FnOnce(&ConsumerClient) -> Receive<M>) -> Result<Self, Error> {
        Self::start_on(MemoryCheckpointStore::new(), receive)
    }

    /// As [`start`](Self::start), with a store of the test: one that fails, or that another run used before.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on<M>(
        store: impl CheckpointStore,
        receive: impl FnOnce(&ConsumerClient) -> Receive<M>,
    ) -> Result<Self, Error> {
        let client =
            ConsumerClient::builder(CONNECTION_STRING, "$Default").checkpoint_store(store).build()?;
        Ok(Self { run: TestRun::new(receive(&client))? })
    }

    /// Sends an event to a partition, which is read from now on, and returns its sequence number: the first event of a
    /// partition has number 0.
    ///
    /// # Panics
    /// If `partition` is not a partition id.
    pub async fn push(&mut self, partition: &str, event: impl Into<TestEvent>) -> i64 {
        self.open(partition).await;
        let number = self.send(partition, event);
        self.settle().await;
        number
    }

    /// Sends events to a partition all at once; otherwise as [`push`](Self::push).
    ///
    /// # Panics
    /// If `partition` is not a partition id.
    pub async fn push_all<E: Into<TestEvent>>(
        &mut self,
        partition: &str,
        events: impl IntoIterator<Item = E>,
    ) {
        self.open(partition).await;
        for event in events {
            self.send(partition, event);
        }
        self.settle().await;
    }

    /// Begins to read a partition, unless it is read. One that was given up is read again from its checkpoint.
    ///
    /// # Panics
    /// If `partition` is not a partition id.
    pub async fn open(&mut self, partition: &str) {
        self.run.open(&id(partition));
        self.settle().await;
    }

    /// Lets time pass: every timer until then fires in its order.
    pub async fn advance(&self, time: Duration) {
        sleep(time).await;
        self.settle().await;
    }

    /// Ends the ownership of a partition, as when another instance has taken it.
    ///
    /// # Panics
    /// If `partition` is not a partition id.
    pub async fn revoke(&self, partition: &str) {
        self.command(partition, Command::Revoke).await;
    }

    /// Hands a partition over to an instance that waits for it: running calls may end, and a last checkpoint is written.
    ///
    /// # Panics
    /// If `partition` is not a partition id.
    pub async fn hand_over(&self, partition: &str) {
        self.command(partition, Command::HandOver).await;
    }

    /// Returns whether a partition is being read.
    ///
    /// # Panics
    /// If `partition` is not a partition id.
    pub fn is_open(&self, partition: &str) -> bool {
        self.run.is_open(&id(partition))
    }

    /// Returns the event that holds a partition, since it fails again and again, if one does.
    ///
    /// # Panics
    /// If `partition` is not a partition id.
    pub fn held_by(&self, partition: &str) -> Option<HeldBy> {
        self.run.held_by(&id(partition))
    }

    /// Returns the sequence number of the checkpoint in the store.
    ///
    /// # Panics
    /// If `partition` is not a partition id, or the store fails.
    pub async fn checkpoint(&self, partition: &str) -> Option<i64> {
        let checkpoint = self.run.checkpoint(&id(partition)).await;
        Some(checkpoint.unwrap_or_else(|error| panic!("{error}"))?.value())
    }

    /// Returns the errors that were reported so far.
    pub fn errors(&self) -> Vec<Reported> {
        let reported = |(kind, partition, text)| Reported { kind, partition, text };
        self.run.errors().into_iter().map(reported).collect()
    }

    /// Stops the run as a signal does, and returns what it reports.
    ///
    /// # Errors
    /// The error that ended the run before, as [`GiveUp::Stop`](eventhubs::GiveUp::Stop) does.
    pub async fn stop(mut self) -> Result<ReceiveReport, Error> {
        let partitions = self.run.partitions();
        for partition in &partitions {
            self.run.command(partition, Command::Stop);
        }
        let mut result = Ok(());
        for partition in &partitions {
            result = result.and(self.run.closed(partition).await);
        }
        result.map(|()| self.run.report())
    }

    fn send(&mut self, partition: &str, event: impl Into<TestEvent>) -> i64 {
        let TestEvent { data, enqueued } = event.into();
        self.run.push(&id(partition), data, enqueued).value()
    }

    async fn command(&self, partition: &str, command: Command) {
        self.run.command(&id(partition), command);
        self.settle().await;
    }

    /// With a paused clock, this sleep ends only when every other task waits.
    async fn settle(&self) {
        sleep(TICK).await;
    }
}

fn id(partition: &str) -> PartitionId {
    PartitionId::new(partition).unwrap_or_else(|error| panic!("{error}"))
}
