use std::time::Duration;

use eventhubs_amqp::{
    ConnectionString, EventHubClient, PartitionReceiver, PartitionReceiverBuilder, ReceivedEvent, RetryPolicy,
};
use eventhubs_emulator::Emulator;
use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
use tokio::time::timeout;

/// Far more than anything here takes; it only turns a hang into a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn emulator() -> Emulator {
    Emulator::builder()
        .event_hub("orders", 4)
        .consumer_group("orders", "billing")
        .start()
        .await
        .unwrap()
}

/// Retries quickly, so that tests do not wait for back-off.
pub(crate) fn client(emulator: &Emulator) -> EventHubClient {
    let text = emulator.connection_string("orders");
    let retry = RetryPolicy::fixed(Duration::from_millis(20));
    EventHubClient::builder(ConnectionString::parse(&text).unwrap())
        .retry(retry)
        .build()
        .unwrap()
}

pub(crate) fn partition(id: &str) -> PartitionId {
    PartitionId::new(id).unwrap()
}

/// Reads partition 0 for the default group.
pub(crate) fn builder(client: &EventHubClient, position: StartingPosition) -> PartitionReceiverBuilder {
    client
        .partition_receiver(ConsumerGroup::default(), partition("0"))
        .starting_position(position)
}

pub(crate) async fn open(client: &EventHubClient, position: StartingPosition) -> PartitionReceiver {
    builder(client, position).open().await.unwrap()
}

/// Receives exactly this many events.
pub(crate) async fn receive(receiver: &mut PartitionReceiver, count: usize) -> Vec<ReceivedEvent> {
    let mut events = Vec::new();
    timeout(PATIENCE, async {
        while events.len() < count {
            events.extend(receiver.receive_batch(count - events.len(), None).await.unwrap());
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} of {count} events came", events.len()));
    events
}

pub(crate) fn numbers(events: &[ReceivedEvent]) -> Vec<i64> {
    events
        .iter()
        .map(|event| event.sequence_number().value())
        .collect()
}

pub(crate) fn texts(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|n| format!("event {n}"))
}
