use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use eventhubs_amqp::{ConnectionString, EventHubClient, PartitionReceiver};
use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
use futures::future::try_join_all;
use tokio::time::sleep;

use super::{InOrder, Orders, Outcome, SLOW};
use crate::meter::Meter;

/// What one call returns at most.
const MAX_BATCH: usize = 300;

/// One client; a task per partition.
pub(super) async fn read(orders: &Orders, meter: &Arc<Meter>) -> Outcome {
    let receivers = (0..).zip(open(orders).await?);
    let readers = receivers.map(|(id, receiver)| {
        let (meter, slow) = (Arc::clone(meter), orders.is_slow(id));
        async move { tokio::spawn(read_one(id, receiver, meter, slow)).await? }
    });
    try_join_all(readers).await.map(drop)
}

/// A receiver for each partition.
pub(super) async fn open(orders: &Orders) -> Result<Vec<PartitionReceiver>, Box<dyn Error + Send + Sync>> {
    let connection_string = ConnectionString::parse(&orders.connection_string())?;
    let client =
        EventHubClient::builder(connection_string).connection(orders.connection_options()).build()?;
    let mut receivers = Vec::new();
    for id in 0..orders.partitions {
        let builder = client.partition_receiver(ConsumerGroup::default(), PartitionId::new(id.to_string())?);
        let builder = builder.starting_position(StartingPosition::Earliest).prefetch(orders.prefetch);
        receivers.push(builder.open().await?);
    }
    Ok(receivers)
}

async fn read_one(id: u32, mut receiver: PartitionReceiver, meter: Arc<Meter>, slow: bool) -> Outcome {
    let mut order = InOrder::default();
    loop {
        let events = receiver.receive_batch(MAX_BATCH, None).await?;
        meter.comes_from(|| id);
        for event in &events {
            order.check(event.sequence_number().value())?;
            black_box((event.offset(), event.enqueued_time()));
            if let (false, Some(body)) = (slow, event.body_bytes()) {
                meter.look_at(&body);
            }
        }
        if slow {
            sleep(SLOW).await;
        }
        meter.count(events.len());
    }
}
