//! What the tests of this crate share: clients that look often, callbacks that record, and runs in the
//! background.

use std::future::{Future, Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::receive::{Events, Receive};
use eventhubs::{
    CheckpointStore, ConsumerClient, ConsumerGroup, ConsumerScope, Error, FailurePolicy, HandlerResult,
    MemoryCheckpointStore, OwnerId, PartitionContext, ReceiveReport, ReceivedEvent, RetryPolicy,
    StartingPosition,
};
use eventhubs_checkpoint_store::Ownership;
use eventhubs_emulator::{Emulator, RequestKind, Verdict};
use eventhubs_test_harness::PATIENCE;
pub(crate) use eventhubs_test_harness::{seeing, until};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const HUB: &str = "orders";

/// Runs a test under a time limit that no good run comes near.
#[track_caller]
pub(crate) fn within<F: Future>(test: F) -> impl Future<Output = F::Output> {
    eventhubs_test_harness::within(PATIENCE, test)
}

pub(crate) async fn emulator(partitions: usize) -> Emulator {
    Emulator::builder().event_hub(HUB, partitions).start().await.unwrap()
}

pub(crate) fn client(emulator: &Emulator) -> ConsumerClient {
    client_on(emulator, MemoryCheckpointStore::new())
}

/// What restarts the partition at its checkpoint with each failure.
pub(crate) fn restarting() -> FailurePolicy {
    FailurePolicy::default().attempts(1)
}

/// A client that looks often and retries fast.
pub(crate) fn client_on(emulator: &Emulator, store: impl CheckpointStore) -> ConsumerClient {
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(store)
        .load_balancing_interval(Duration::from_millis(100))
        .partition_ownership_expiration_interval(Duration::from_secs(30))
        .retry(RetryPolicy::fixed(Duration::from_millis(20)))
        .build()
        .unwrap()
}

pub(crate) fn scope() -> ConsumerScope {
    ConsumerScope::new("127.0.0.1".parse().unwrap(), HUB.parse().unwrap(), ConsumerGroup::default())
}

/// The ownership record of a partition.
pub(crate) async fn record(store: &impl CheckpointStore, partition: &str) -> Option<Ownership> {
    let list = store.list_ownership(&scope()).await.unwrap();
    list.records.into_iter().find(|record| record.partition.as_str() == partition)
}

/// Refuses questions about partitions, as where a token is for the consumer group alone: it may read, but not ask.
pub(crate) fn refuse_questions_about_partitions(emulator: &Emulator) {
    emulator.intercept(|request| {
        if request.kind != RequestKind::Read || !request.address.contains("Partitions") {
            return Verdict::Pass;
        }
        let (condition, description) = ("amqp:unauthorized-access".into(), "a test".into());
        Verdict::Refuse { condition, description }
    });
}

pub(crate) fn publish_to(emulator: &Emulator, partition: &str, bodies: &[&'static str]) {
    emulator.publish_to(HUB, partition, bodies.iter().copied()).unwrap();
}

/// What callbacks saw, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub(crate) fn push(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|seen| seen == text)
    }

    #[track_caller]
    pub(crate) fn until_count(&self, count: usize) -> impl Future<Output = ()> {
        until(seeing(format!("{count} entries"), || self.all()), move || self.count() >= count)
    }

    #[track_caller]
    pub(crate) fn until_contains(&self, text: &str) -> impl Future<Output = ()> {
        until(seeing(format!("{text:?}"), || self.all()), move || self.contains(text))
    }
}

/// A callback that notes each event's body, and succeeds.
pub(crate) fn recording(
    seen: &Seen,
) -> impl Fn(PartitionContext, ReceivedEvent) -> Ready<HandlerResult> + use<> {
    let seen = seen.clone();
    move |_, event| {
        seen.push(body(&event));
        ready(Ok(()))
    }
}

/// An error hook that notes each error's kind.
pub(crate) fn recording_errors(seen: &Seen) -> impl Fn(Option<PartitionContext>, Error) -> Ready<()> + use<> {
    let seen = seen.clone();
    move |_, error| {
        seen.push(format!("{:?}", error.kind()));
        ready(())
    }
}

pub(crate) fn body(event: &ReceivedEvent) -> String {
    event.body_as_str().unwrap().into_owned()
}

/// A run that writes each event as a checkpoint, and notes its body with what became of that, as in `a
/// Written`.
pub(crate) fn checkpointing(client: &ConsumerClient, seen: &Seen) -> Receive<Events> {
    let log = seen.clone();
    let receive = client.receive(move |context, event| {
        let log = log.clone();
        async move {
            let status = context.update_checkpoint(&event).await?;
            log.push(format!("{} {status:?}", body(&event)));
            Ok(())
        }
    });
    receive.starting_position(StartingPosition::Earliest)
}

/// A run in the background.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<eventhubs::Result<ReceiveReport>>,
}

/// Starts a run; `with_stop` gives it the signal to stop.
pub(crate) fn start<M: 'static>(receive: Receive<M>) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(receive.with_graceful_shutdown(stopped).into_future());
    Running { stop, task }
}

impl Running {
    pub(crate) async fn stop(self) -> ReceiveReport {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap()
    }
}

/// Waits until the record of a partition names this owner.
pub(crate) async fn until_owner(store: &impl CheckpointStore, partition: &str, owner: &OwnerId) {
    let is_owner =
        async || record(store, partition).await.and_then(|record| record.owner).as_ref() == Some(owner);
    eventhubs_test_harness::until_async(format!("{owner} owns partition {partition}"), is_owner).await;
}
