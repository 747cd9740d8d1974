//! The liveness probe fails for a callback that does not end, and for nothing that a restart does not help against: neither
//! while the store is down nor while the event hub is.

use std::sync::Arc;
use std::time::Duration;

use eventhubs::status::{PartitionState, PartitionStatus, RunState, Stall, StoreState};
use eventhubs::{
    ConsumerClient, HandlerResult, PartitionContext, ReceiveReport, ReceivedEvent, RetryPolicy,
    StartingPosition, Status,
};
use eventhubs_test_harness::{PATIENCE, seeing, until, within};
use eventhubs_tests::{HUB, World};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const STALL_AFTER: Duration = Duration::from_millis(300);
const GRACE: Duration = Duration::from_secs(1);
/// Of leases during an outage, which has to be longer than rounds may be apart, and that follows from this.
const EXPIRY: Duration = Duration::from_secs(4);

/// A run whose partitions are all read, and what it needs to be stopped.
struct Running {
    client: ConsumerClient,
    stop: oneshot::Sender<()>,
    receiving: JoinHandle<eventhubs::Result<ReceiveReport>>,
}

impl Running {
    async fn start<F>(
        world: &World,
        expiry: Duration,
        callback: impl Fn(PartitionContext, ReceivedEvent) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = HandlerResult> + Send + 'static,
    {
        let client = ConsumerClient::builder(world.emulator.connection_string(HUB), "$Default")
            .checkpoint_store(world.store().await)
            .checkpoint_namespace(world.namespace.clone())
            .load_balancing_interval(Duration::from_millis(200))
            .partition_ownership_expiration_interval(expiry)
            .retry(RetryPolicy::fixed(Duration::from_millis(50)))
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let receive = client
            .receive(callback)
            .starting_position(StartingPosition::Earliest)
            .stall_after(STALL_AFTER)
            .shutdown_timeout(Duration::from_secs(2))
            .with_graceful_shutdown(stopped);
        let receiving = tokio::spawn(receive.into_future());
        let running = Self { client, stop, receiving };
        let is_reading = |status: &Status| status.is_ready() && status.partitions.len() == 4;
        running.until("all partitions are read", is_reading).await;
        running
    }

    fn status(&self) -> Status {
        self.client.status()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) {
        until(seeing(what, || self.status()), || holds(&self.status())).await;
    }

    /// Looks at the status for longer than a stall, the grace and a round may take together, and finds the process alive at
    /// each look.
    async fn stays_alive(&self, during: impl Fn(&Status) -> bool) {
        self.until("the outage is seen", &during).await;
        let begun = Instant::now();
        let limit = self.status().rounds.unwrap().limit;
        let is_over = |status: &Status| {
            assert!(status.is_alive_within(GRACE), "not alive: {status:#?}");
            assert_eq!(status.run, RunState::Running);
            begun.elapsed() > limit + STALL_AFTER + GRACE
        };
        self.until("the outage was long enough", is_over).await;
        assert!(during(&self.status()), "the outage is not over: {:#?}", self.status());
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.receiving.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_fails_the_probe_after_the_grace_only() {
    within(PATIENCE, async {
        let world = World::new(4).await;
        let goes_on = Arc::new(Notify::new());
        let waits = Arc::clone(&goes_on);
        let running = Running::start(&world, Duration::from_secs(60), move |context, _| {
            let waits = Arc::clone(&waits);
            async move {
                if context.partition_id().as_str() == "3" {
                    waits.notified().await;
                }
                Ok(())
            }
        })
        .await;
        assert!(running.status().is_alive_within(Duration::ZERO));

        // Before the call begins, so that no probe may fail earlier than this and both limits.
        let published = Instant::now();
        world.publish(8);
        let is_not_alive = |status: &Status| !status.is_alive_within(GRACE);
        running.until("the probe fails", is_not_alive).await;
        let after = published.elapsed();
        assert!(after > STALL_AFTER + GRACE, "the probe failed after {after:?}");

        let status = running.status();
        assert!(status.is_alive(), "two minutes are not over");
        assert!(!status.is_ready());
        for partition in &status.partitions {
            let is_hung = partition.partition.as_str() == "3";
            let stall = Stall::Call { sequence_number: Some(0.into()) };
            let is_stalled =
                matches!(partition.state, PartitionState::Stalled { stall: why, .. } if why == stall);
            assert_eq!(
                (is_stalled, partition.done),
                (is_hung, if is_hung { 0 } else { 2 }),
                "{partition:#?}"
            );
        }

        goes_on.notify_one();
        goes_on.notify_waiters();
        let is_first_done = |status: &Status| status.partitions[3].done == 1;
        running.until("the first call ends", is_first_done).await;
        goes_on.notify_one();
        running.until("all is well again", |status| status.is_ready() && !is_not_alive(status)).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_stopped_fails_no_probe_of_liveness() {
    within(PATIENCE, async {
        let mut world = World::persistent(4).await;
        let running = Running::start(&world, EXPIRY, |_, _| async { Ok(()) }).await;
        world.storage.interrupt().await;
        // At this interval the rounds give calls up before the store does, which counts too.
        running.stays_alive(|status| matches!(status.store, StoreState::Failing { .. })).await;
        world.storage.restore().await;
        let is_reading = |status: &Status| {
            let is_read = |partition: &PartitionStatus| partition.state != PartitionState::Released;
            status.store == StoreState::Answering && status.partitions.iter().all(is_read)
        };
        running.until("all partitions are read again", is_reading).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_hub_that_was_stopped_fails_no_probe_of_liveness() {
    within(PATIENCE, async {
        let world = World::new(4).await;
        let running = Running::start(&world, EXPIRY, |_, _| async { Ok(()) }).await;
        let World { emulator, storage, .. } = world;
        emulator.stop().await;
        let has_errors =
            |status: &Status| status.partitions.iter().all(|partition| partition.last_error.is_some());
        running.stays_alive(has_errors).await;
        running.stop().await;
        drop(storage);
    })
    .await;
}
