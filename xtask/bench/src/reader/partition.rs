use std::hint::black_box;
use std::sync::Arc;

use eventhubs_amqp::{ConnectionString, EventHubClient, PartitionReceiver};
use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
use futures::future::try_join_all;

use super::{InOrder, Orders, Outcome};
use crate::meter::Meter;

/// What one call returns at most.
const MAX_BATCH: usize = 300;

/// One client, hence one connection; a task per partition.
pub(super) async fn read(orders: &Orders, meter: &Arc<Meter>) -> Outcome {
    let client = EventHubClient::builder(ConnectionString::parse(&orders.connection_string())?).build()?;
    let mut readers = Vec::new();
    for id in 0..orders.partitions {
        let receiver = client
            .partition_receiver(ConsumerGroup::default(), PartitionId::new(id.to_string())?)
            .starting_position(StartingPosition::Earliest)
            .prefetch(orders.prefetch)
            .open()
            .await?;
        let meter = Arc::clone(meter);
        readers.push(async move { tokio::spawn(read_one(id, receiver, meter)).await? });
    }
    try_join_all(readers).await.map(drop)
}

async fn read_one(id: u32, mut receiver: PartitionReceiver, meter: Arc<Meter>) -> Outcome {
    let mut order = InOrder::default();
    loop {
        let events = receiver.receive_batch(MAX_BATCH, None).await?;
        meter.comes_from(|| id);
        for event in &events {
            order.check(event.sequence_number().value())?;
            black_box((event.offset(), event.enqueued_time()));
            if let Some(body) = event.body_bytes() {
                meter.look_at(&body);
            }
        }
        meter.count(events.len());
    }
}
