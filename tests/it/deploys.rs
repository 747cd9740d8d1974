//! Rolling deploys with clean stops, while the hub, the links and the store answer late: no event is lost, and none comes
//! twice.

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventhubs::{CloseReason, ConsumerClient, RetryPolicy, StartingPosition};
use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Expected, MemoryCheckpointStore,
    OwnershipList, Result,
};
use eventhubs_emulator::{Emulator, RequestKind, Verdict};
use eventhubs_test_harness::{PATIENCE, seeing, until, within};
use eventhubs_tests::HUB;
use eventhubs_types::{ConsumerScope, PartitionId};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

/// How often each instance is replaced in each run; `cargo xtask soak deploys` sets more.
const ROUNDS: &str = "EVENTHUBS_DEPLOY_ROUNDS";
const INSTANCES: usize = 4;
const PARTITIONS: usize = 12;
const INTERVAL: Duration = Duration::from_secs(1);

/// How late the parts answer.
#[derive(Debug, Clone, Copy, Default)]
struct Delays {
    management: Duration,
    attach: Duration,
    store: Duration,
}

const HUB_DELAY: Duration = Duration::from_millis(750);
const STORE_DELAY: Duration = Duration::from_millis(150);

/// How often each event was handled, by partition and sequence number.
type Handled = Arc<Mutex<BTreeMap<(PartitionId, i64), usize>>>;

#[derive(Debug)]
struct LateStore {
    store: MemoryCheckpointStore,
    delay: Duration,
}

// The sleeps are the fault that the test makes: each answer is late by this much.
#[async_trait]
impl CheckpointStore for LateStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let list = self.store.list_ownership(scope).await;
        sleep(self.delay).await;
        list
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let outcome = self.store.claim_ownership(scope, claim).await;
        sleep(self.delay).await;
        outcome
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        let checkpoint = self.store.checkpoint(scope, partition).await;
        sleep(self.delay).await;
        checkpoint
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        let outcome = self.store.update_checkpoint(scope, checkpoint, expected).await;
        sleep(self.delay).await;
        outcome
    }
}

struct Fleet {
    emulator: Emulator,
    store: Arc<LateStore>,
    handled: Handled,
    handovers: Arc<AtomicUsize>,
}

struct Instance {
    stop: oneshot::Sender<()>,
    receiving: JoinHandle<eventhubs::Result<eventhubs::ReceiveReport>>,
}

impl Fleet {
    async fn new(delays: Delays) -> Self {
        let emulator = Emulator::builder().event_hub(HUB, PARTITIONS).start().await.unwrap();
        emulator.delay_requests(delays.management);
        emulator.intercept(move |request| match request.kind {
            RequestKind::Attach if request.address.contains("Partitions") => Verdict::Delay(delays.attach),
            _ => Verdict::Pass,
        });
        let store = Arc::new(LateStore { store: MemoryCheckpointStore::new(), delay: delays.store });
        Self { emulator, store, handled: Handled::default(), handovers: Arc::default() }
    }

    /// Starts an instance that writes a checkpoint only when a partition is closed: whatever is read too early comes twice.
    fn start(&self) -> Instance {
        let client = ConsumerClient::builder(self.emulator.connection_string(HUB), "$Default")
            .checkpoint_store(Arc::clone(&self.store))
            .load_balancing_interval(INTERVAL)
            .partition_ownership_expiration_interval(20 * INTERVAL)
            .retry(RetryPolicy::fixed(Duration::from_millis(50)))
            .build()
            .unwrap();
        let (handled, handovers) = (Arc::clone(&self.handled), Arc::clone(&self.handovers));
        let last = Arc::new(Mutex::new(BTreeMap::new()));
        let latest = Arc::clone(&last);
        let (stop, stopped) = oneshot::channel::<()>();
        let receive = client
            .receive(move |context, event| {
                let partition = context.partition_id().clone();
                let key = (partition.clone(), event.sequence_number().value());
                *handled.lock().unwrap().entry(key).or_default() += 1;
                latest.lock().unwrap().insert(partition, event);
                async { Ok(()) }
            })
            .starting_position(StartingPosition::Earliest)
            .on_partition_close(move |context, reason| {
                handovers.fetch_add(usize::from(reason == CloseReason::HandedOver), Ordering::Relaxed);
                let event = last.lock().unwrap().remove(context.partition_id());
                async move {
                    if let Some(event) = event {
                        // Refused after a loss; then the events come again, which the test counts.
                        let _ = context.update_checkpoint(&event).await;
                    }
                }
            })
            .with_graceful_shutdown(stopped);
        Instance { stop, receiving: tokio::spawn(receive.into_future()) }
    }

    fn published(&self) -> usize {
        self.emulator.partitions(HUB).unwrap().iter().map(|partition| partition.event_count).sum()
    }

    fn is_complete(&self) -> bool {
        self.handled.lock().unwrap().len() == self.published()
    }
}

async fn stop(instance: Instance) {
    instance.stop.send(()).unwrap();
    instance.receiving.await.unwrap().unwrap();
}

/// Replaces every instance, one after the other, while events are published. Returns the hand-overs and the events that came
/// more than once.
async fn deploy(delays: Delays, rounds: usize) -> (usize, usize) {
    let fleet = Arc::new(Fleet::new(delays).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let (publishing, over) = (Arc::clone(&fleet), Arc::clone(&is_over));
    let publisher = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(40));
        while !over.load(Ordering::Relaxed) {
            ticks.tick().await;
            publishing.emulator.publish(HUB, ["event"; PARTITIONS]).unwrap();
        }
    });
    let mut instances: Vec<_> = (0..INSTANCES).map(|_| fleet.start()).collect();
    let readers = || fleet.emulator.receivers(HUB).unwrap();
    until(seeing("a reader of each partition", readers), || readers().len() == PARTITIONS).await;
    for _ in 0..rounds * INSTANCES {
        instances.push(fleet.start());
        stop(instances.remove(0)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    publisher.await.unwrap();
    until("every event is handled", || fleet.is_complete()).await;
    for instance in instances {
        stop(instance).await;
    }
    let repeated = fleet.handled.lock().unwrap().values().filter(|times| **times > 1).count();
    (fleet.handovers.load(Ordering::Relaxed), repeated)
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_deploys_repeat_no_event_however_late_the_answers_are() {
    let rounds = env::var(ROUNDS).map_or(1, |rounds| rounds.parse().unwrap());
    let patience = PATIENCE * u32::try_from(rounds).unwrap();
    within(patience, async {
        let late = [
            Delays { management: HUB_DELAY, ..Delays::default() },
            Delays { attach: HUB_DELAY, ..Delays::default() },
            Delays { store: STORE_DELAY, ..Delays::default() },
            Delays { management: HUB_DELAY, attach: HUB_DELAY, store: STORE_DELAY },
        ];
        let runs = late.map(|delays| tokio::spawn(deploy(delays, rounds)));
        for (run, delays) in runs.into_iter().zip(late) {
            let (handovers, repeated) = run.await.unwrap();
            println!("{repeated} events came twice in {handovers} hand-overs with {delays:?}");
            assert_eq!(repeated, 0, "events came twice in {handovers} hand-overs with {delays:?}");
            assert!(handovers >= PARTITIONS * rounds, "{handovers} hand-overs with {delays:?}");
        }
    })
    .await;
}
