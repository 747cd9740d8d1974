use std::future::Future;
use std::time::Duration;

use eventhubs_amqp::{
    ConnectionString, EventHubClient, EventHubClientBuilder, PartitionReceiver, PartitionReceiverBuilder,
    ReceivedEvent, RetryPolicy,
};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::PATIENCE;
pub(crate) use eventhubs_test_harness::{seeing, until};
use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};

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

/// Fails instead of hanging, with the place of the call.
#[track_caller]
pub(crate) fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    eventhubs_test_harness::within(PATIENCE, future)
}

/// Receives exactly this many events.
pub(crate) async fn receive(receiver: &mut PartitionReceiver, count: usize) -> Vec<ReceivedEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        let more = receiver.receive_batch(count - events.len(), None);
        events.extend(within(more).await.unwrap());
    }
    events
}

pub(crate) fn numbers(events: &[ReceivedEvent]) -> Vec<i64> {
    events.iter().map(|event| event.sequence_number().value()).collect()
}

pub(crate) fn texts(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|n| format!("event {n}"))
}
