//! Our `ConsumerClient`, with callbacks that are empty or slow.

use std::error::Error;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use eventhubs::receive::Events;
use eventhubs::{
    CheckpointPolicy, ConsumerClient, ConsumerClientBuilder, FailurePolicy, GiveUp, HandlerResult,
    PartitionContext, Receive, ReceivedEvent, StartingPosition, Strategy,
};
use eventhubs_opentelemetry::Telemetry;
use futures::FutureExt;
use futures::future::{BoxFuture, Either};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Orders, Outcome, SLOW};
use crate::meter::Meter;

fn builder(orders: &Orders) -> ConsumerClientBuilder {
    ConsumerClient::builder(orders.connection_string(), "$Default")
        .load_balancing_interval(Duration::from_secs(1))
        .connection(orders.connection_options())
}

fn client(orders: &Orders) -> eventhubs::Result<ConsumerClient> {
    builder(orders).build()
}

/// The SDK as in production, where most calls are not sampled; without a reader it keeps no metrics.
fn telemetry() -> Telemetry {
    let tracers = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    Telemetry::new(&SdkMeterProvider::builder().build(), &tracers)
}

/// What a service in production sets.
pub(super) fn with_policies(receive: Receive<Events>) -> Receive<Events> {
    let checkpoints = CheckpointPolicy::every(Duration::from_secs(10)).or_events(100_000);
    receive.on_failure(FailurePolicy::default().attempts(5).then(GiveUp::Skip)).checkpoint(checkpoints)
}

/// Several events at once, of which those with one key are in order.
pub(super) fn keyed(receive: Receive<Events>) -> Receive<Events> {
    with_policies(receive).concurrency(16).keyed_by(|event| event.sequence_number().value() % 1_000)
}

pub(super) async fn receive(
    orders: &Orders,
    meter: Arc<Meter>,
    with: impl FnOnce(Receive<Events>) -> Receive<Events>,
) -> Outcome {
    receive_by(&client(orders)?, orders, meter, with).await
}

pub(super) async fn receive_observed(orders: &Orders, meter: Arc<Meter>) -> Outcome {
    receive_by(&builder(orders).observer(telemetry()).build()?, orders, meter, |receive| receive).await
}

/// A run that has all partitions, until it is dropped.
pub(super) async fn open(
    orders: &Orders,
) -> Result<JoinSet<eventhubs::Result<()>>, Box<dyn Error + Send + Sync>> {
    let (opened, mut all) = mpsc::channel(orders.partitions as usize);
    let initialize = move |_| ready(opened.try_send(()).map_err(Into::into));
    let client = builder(orders).load_balancing_strategy(Strategy::Greedy).build()?;
    let receiving = client.receive(|_, _| ready(Ok(()))).on_partition_initialize(initialize);
    let receiving = receiving.prefetch(orders.prefetch);
    let mut run = JoinSet::new();
    run.spawn(async move { receiving.await.map(drop) });
    for _ in 0..orders.partitions {
        tokio::select! {
            opened = all.recv() => opened.ok_or("a partition is not opened")?,
            ended = run.join_next() => return Err(format!("the run has ended: {ended:?}").into()),
        }
    }
    Ok(run)
}

async fn receive_by(
    client: &ConsumerClient,
    orders: &Orders,
    meter: Arc<Meter>,
    with: impl FnOnce(Receive<Events>) -> Receive<Events>,
) -> Outcome {
    let slow = orders.slow;
    let on_event = move |context: PartitionContext, event: ReceivedEvent| {
        meter.comes_from(|| partition(&context));
        if slow > 0 && partition(&context) < slow {
            return Either::Right(slowly(&meter, 1, event));
        }
        look_at(&meter, &event);
        meter.count(1);
        at_once()
    };
    let receiving = with(client.receive(on_event));
    receiving.starting_position(StartingPosition::Earliest).prefetch(orders.prefetch).await?;
    Ok(())
}

pub(super) async fn receive_batch(orders: &Orders, meter: Arc<Meter>) -> Outcome {
    let slow = orders.slow;
    let on_batch = move |context: PartitionContext, events: Vec<ReceivedEvent>| {
        meter.comes_from(|| partition(&context));
        if slow > 0 && partition(&context) < slow {
            return Either::Right(slowly(&meter, events.len(), events));
        }
        for event in &events {
            look_at(&meter, event);
        }
        meter.count(events.len());
        at_once()
    };
    let receiving = client(orders)?.receive_batch(on_batch);
    receiving.starting_position(StartingPosition::Earliest).prefetch(orders.prefetch).await?;
    Ok(())
}

fn at_once() -> Either<Ready<HandlerResult>, BoxFuture<'static, HandlerResult>> {
    Either::Left(ready(Ok(())))
}

/// Holds what it was given for a while.
fn slowly(meter: &Arc<Meter>, count: usize, given: impl Send + 'static) -> BoxFuture<'static, HandlerResult> {
    let meter = Arc::clone(meter);
    async move {
        sleep(SLOW).await;
        drop(given);
        meter.count(count);
        Ok(())
    }
    .boxed()
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
