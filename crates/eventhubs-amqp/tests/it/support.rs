use std::future::Future;
use std::time::Duration;

use eventhubs_amqp::{
    ConnectionString, EventHubClient, EventHubClientBuilder, PartitionReceiver, PartitionReceiverBuilder,
    ReceivedEvent, RetryPolicy,
};
use eventhubs_emulator::Emulator;
use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
use tokio::time::timeout;

/// Far more than anything here takes; it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn emulator() -> Emulator {
    Emulator::builder().event_hub("orders", 4).consumer_group("orders", "billing").start().await.unwrap()
}

pub(crate) fn client(emulator: &Emulator) -> EventHubClient {
    client_builder(&emulator.connection_string("orders")).build().unwrap()
}

/// Retries quickly, so that tests do not wait for back-off.
pub(crate) fn client_builder(connection_string: &str) -> EventHubClientBuilder {
    let connection_string = ConnectionString::parse(connection_string).unwrap();
    EventHubClient::builder(connection_string).retry(RetryPolicy::fixed(Duration::from_millis(20)))
}

pub(crate) fn partition(id: &str) -> PartitionId {
    PartitionId::new(id).unwrap()
}

/// Reads partition 0 for the default group.
pub(crate) fn builder(client: &EventHubClient, position: StartingPosition) -> PartitionReceiverBuilder {
    client.partition_receiver(ConsumerGroup::default(), partition("0")).starting_position(position)
}

pub(crate) async fn open(client: &EventHubClient, position: StartingPosition) -> PartitionReceiver {
    builder(client, position).open().await.unwrap()
}

/// Fails instead of hanging.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Receives exactly this many events.
pub(crate) async fn receive(receiver: &mut PartitionReceiver, count: usize) -> Vec<ReceivedEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        let more = receiver.receive_batch(count - events.len(), None);
        events.extend(soon("more events", more).await.unwrap());
    }
    events
}

pub(crate) fn numbers(events: &[ReceivedEvent]) -> Vec<i64> {
    events.iter().map(|event| event.sequence_number().value()).collect()
}

pub(crate) fn texts(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|n| format!("event {n}"))
}
