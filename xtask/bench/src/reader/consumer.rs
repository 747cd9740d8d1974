use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use eventhubs::{ConsumerClient, PartitionContext, ReceivedEvent, StartingPosition};

use super::{Orders, Outcome};
use crate::meter::Meter;

fn client(orders: &Orders) -> eventhubs::Result<ConsumerClient> {
    ConsumerClient::from_connection_string(orders.connection_string(), "$Default")?
        .load_balancing_interval(Duration::from_secs(1))
        .build()
}

pub(super) async fn receive(orders: &Orders, meter: Arc<Meter>) -> Outcome {
    let on_event = move |context: PartitionContext, event: ReceivedEvent| {
        meter.comes_from(|| partition(&context));
        look_at(&meter, &event);
        meter.count(1);
        ready(Ok(()))
    };
    let receiving = client(orders)?.receive(on_event);
    receiving.starting_position(StartingPosition::Earliest).prefetch(orders.prefetch).await?;
    Ok(())
}

pub(super) async fn receive_batch(orders: &Orders, meter: Arc<Meter>) -> Outcome {
    let on_batch = move |context: PartitionContext, events: Vec<ReceivedEvent>| {
        meter.comes_from(|| partition(&context));
        for event in &events {
            look_at(&meter, event);
        }
        meter.count(events.len());
        ready(Ok(()))
    };
    let receiving = client(orders)?.receive_batch(on_batch);
    receiving.starting_position(StartingPosition::Earliest).prefetch(orders.prefetch).await?;
    Ok(())
}

fn look_at(meter: &Meter, event: &ReceivedEvent) {
    if let Some(body) = event.body_bytes() {
        meter.look_at(&body);
    }
}

/// The replayer numbers its partitions.
fn partition(context: &PartitionContext) -> u32 {
    context.partition_id().as_str().parse().expect("a number")
}
