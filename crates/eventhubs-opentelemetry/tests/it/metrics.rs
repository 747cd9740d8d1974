//! The metrics: their names, units and attributes, and what they count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventhubs::store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind, Expected,
    OwnershipList, async_trait,
};
use eventhubs::{
    ConsumerScope, FailurePolicy, GiveUp, MemoryCheckpointStore, PartitionId, StartingPosition, Until,
};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{PATIENCE, until, within};
use tokio::sync::{Semaphore, oneshot};

use crate::exported::{Exported, HUB, Metric};
use crate::secrets::CANARY;

/// What every metric has.
const ALWAYS: [&str; 4] =
    ["messaging.system", "messaging.destination.name", "messaging.consumer.group.name", "server.address"];

/// Kind, unit and further attributes.
type Row = (String, String, BTreeSet<String>);

/// The rows of the table of metrics by name.
fn documented() -> BTreeMap<String, Row> {
    let page = include_str!("../../../../docs/metrics.md");
    let rows =
        page.lines().filter(|line| line.starts_with("| `messaging.") || line.starts_with("| `eventhubs."));
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let attributes = cells[4].split(", ").filter(|name| !name.is_empty());
        let whole = |name: &str| {
            if name == "partition" { "messaging.destination.partition.id" } else { name }.to_owned()
        };
        (cells[1].clone(), (cells[2].clone(), cells[3].clone(), attributes.map(whole).collect()))
    };
    rows.map(row).collect()
}

/// A metric under the name that the exporters of OpenTelemetry give it for Prometheus.
fn in_prometheus(name: &str, (kind, unit, _): &Row) -> String {
    let seconds = if unit == "s" { "_seconds" } else { "" };
    let total = if kind == "counter" { "_total" } else { "" };
    name.replace('.', "_") + seconds + total
}

/// Adds what is exported to what was seen before.
fn see(seen: &mut BTreeMap<String, Row>, exported: &Exported) {
    for (name, metric) in exported.metrics() {
        let attributes = metric.attributes();
        for always in ALWAYS {
            assert!(attributes.contains(always), "{name} has no {always}");
        }
        let more = attributes.into_iter().filter(|name| !ALWAYS.contains(name)).map(str::to_owned);
        let row = (metric.kind.to_owned(), metric.unit.clone(), BTreeSet::new());
        seen.entry(name).or_insert(row).2.extend(more);
    }
}

/// A store whose key is wrong.
#[derive(Debug)]
pub(crate) struct Refused;

fn refused<T>() -> Result<T, Error> {
    Err(Error::new(ErrorKind::Unauthorized, CANARY))
}

#[async_trait]
impl CheckpointStore for Refused {
    async fn list_ownership(&self, _: &ConsumerScope) -> Result<OwnershipList, Error> {
        refused()
    }

    async fn claim_ownership(&self, _: &ConsumerScope, _: &Claim) -> ClaimOutcome {
        ClaimOutcome::Lost
    }

    async fn checkpoint(&self, _: &ConsumerScope, _: &PartitionId) -> Result<Option<Checkpoint>, Error> {
        refused()
    }

    async fn update_checkpoint(
        &self,
        _: &ConsumerScope,
        _: &Checkpoint,
        _: &Expected,
    ) -> Result<CheckpointOutcome, Error> {
        refused()
    }
}

#[tokio::test]
async fn what_is_exported_is_what_the_table_says() {
    within(PATIENCE, async {
        let emulator = Emulator::builder().event_hub(HUB, 2).start().await.unwrap();
        emulator.publish_to(HUB, "0", ["a", "poison"]).unwrap();
        let (exported, mut seen) = (Exported::new(), BTreeMap::new());
        let client = exported.client(&emulator);
        let (stop, stopped) = oneshot::channel::<()>();
        let receive = client.receive(|context, event| async move {
            if event.body_as_str()? == "poison" {
                return Err("refused".into());
            }
            context.update_checkpoint(&event).await?;
            Ok(())
        });
        let policy = FailurePolicy::default().attempts(2).then(GiveUp::Skip);
        let receive = receive.starting_position(StartingPosition::Earliest).on_failure(policy);
        let running = tokio::spawn(receive.with_graceful_shutdown(stopped).into_future());
        let is_done = || {
            client.status().partitions.iter().any(|partition| partition.done == 2 && partition.lag.is_some())
        };
        until("both events are done", is_done).await;
        // Whoever changes from one to the other keeps the alert rules and the dashboard.
        let mut text = String::new();
        client.status().to_prometheus(&mut text);
        for (name, row) in &documented() {
            let is_of_status = row.0 == "gauge" || name == "messaging.client.consumed.messages";
            let head = format!("# TYPE {} {}\n", in_prometheus(name, row), row.0);
            assert!(!is_of_status || text.contains(&head), "{head} in {text}");
        }
        // A failure of reading, and a question that is refused.
        emulator.detach_links(HUB, "amqp:not-allowed", "a test");
        until("the partitions are read again", || {
            exported.metrics().contains_key("eventhubs.connection.recoveries")
        })
        .await;
        assert!(client.partition_properties(&"9".parse().unwrap()).await.is_err());
        see(&mut seen, &exported);
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
        see(&mut seen, &exported);

        // Of four events two are kept, and the first was done.
        let emulator = Emulator::builder().event_hub(HUB, 1).retention(2, u64::MAX).start().await.unwrap();
        emulator.publish_to(HUB, "0", ["a", "expires", "c", "d"]).unwrap();
        let store = MemoryCheckpointStore::new();
        let group = "$Default".parse().unwrap();
        let scope = ConsumerScope::new("127.0.0.1".parse().unwrap(), HUB.parse().unwrap(), group);
        let checkpoint = Checkpoint::new("0".parse().unwrap(), Some("0".into()), Some(0.into()));
        store.update_checkpoint(&scope, &checkpoint, &Expected::Absent).await.unwrap();
        let late = exported.client_on(&emulator, store).receive(|_, _| async { Ok(()) });
        late.until(Until::now()).await.unwrap();
        see(&mut seen, &exported);
        assert_eq!(exported.metrics()["eventhubs.processor.expired"].sum(), 1.0);

        // Errors of the store are told by another client, whose store always fails.
        let broken = exported.client_on(&emulator, Refused);
        let ended = broken.receive(|_, _| async { Ok(()) }).until(Until::now()).await;
        assert!(ended.is_err());
        see(&mut seen, &exported);
        assert_eq!(seen, documented());
    })
    .await;
}

#[tokio::test]
async fn consumed_messages_are_what_callbacks_got_over_kills() {
    within(PATIENCE, async {
        let emulator = Emulator::builder().event_hub(HUB, 3).start().await.unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        let (exported, called) = (Exported::new(), Arc::new(AtomicU64::new(0)));
        let clients: Vec<_> = (0..3).map(|_| exported.client_on(&emulator, Arc::clone(&store))).collect();
        for client in &clients {
            emulator.publish(HUB, ["event"; 30]).unwrap();
            let before = called.load(Ordering::SeqCst);
            let counted = Arc::clone(&called);
            let receive = client.receive(move |_, _| {
                counted.fetch_add(1, Ordering::SeqCst);
                async { Ok(()) }
            });
            let running = tokio::spawn(receive.starting_position(StartingPosition::Earliest).into_future());
            until("events are handled", || called.load(Ordering::SeqCst) >= before + 30).await;
            // Cut off as by a crash. All have one owner id, so that the next one waits for no lease.
            running.abort();
            let _ = running.await;
        }
        let consumed = exported.metrics()["messaging.client.consumed.messages"].sum();
        assert_eq!(consumed, called.load(Ordering::SeqCst) as f64);
    })
    .await;
}

/// The value of a partition, if there is one.
fn of_partition(metric: Option<&Metric>, partition: &str) -> Option<f64> {
    let is_it =
        |attributes: &BTreeMap<String, String>| attributes["messaging.destination.partition.id"] == partition;
    metric?.points.iter().find(|(attributes, _)| is_it(attributes)).map(|(_, value)| *value)
}

#[tokio::test]
async fn the_lag_is_that_of_the_event_hub_or_absent() {
    within(PATIENCE, async {
        let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
        emulator.publish_to(HUB, "0", ["event"; 10]).unwrap();
        let exported = Exported::new();
        let client = exported.client(&emulator);
        let permits = Arc::new(Semaphore::new(0));
        let may_handle = Arc::clone(&permits);
        let receive = client.receive(move |_, _| {
            let may_handle = Arc::clone(&may_handle);
            async move {
                may_handle.acquire().await?.forget();
                Ok(())
            }
        });
        let receive =
            receive.starting_position(StartingPosition::Earliest).track_last_enqueued_event_properties(true);
        let running = tokio::spawn(receive.into_future());
        let lag = || of_partition(exported.metrics().get("eventhubs.processor.lag"), "0");
        assert_eq!(lag(), None, "nothing is done, so that it is not known from where to count");
        for (more, expected) in [(1, 9.0), (4, 5.0), (5, 0.0)] {
            permits.add_permits(more);
            until(format!("a lag of {expected}"), || lag() == Some(expected)).await;
        }
        assert_eq!(of_partition(exported.metrics().get("eventhubs.processor.delay"), "0"), Some(0.0));
        running.abort();
        let _ = running.await;
        until("a client that reads nothing has no lag", || lag().is_none()).await;
    })
    .await;
}
