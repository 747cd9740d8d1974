//! Our own clients: a connection, and a task, for each partition.

use eventhubs_amqp::{ConnectionString, EventHubClient};
use eventhubs_types::{ConsumerGroup, EventData, PartitionId, StartingPosition};
use futures::future::try_join_all;

use super::broker::Broker;
use super::{Result, Rules};

/// How many events go to a producer at once; it sends them in as few messages as they fit in.
const CHUNK: usize = 900;
/// What one call of a receiver returns at most.
const MAX_BATCH: usize = 1000;
const PREFETCH: u32 = 2000;

type Outcome = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Sends this many events, the same number to each partition.
pub(super) async fn send(broker: &Broker, rules: &Rules, events: usize) -> Result<()> {
    let (count, body) = (share(broker, events), rules.body);
    each_partition(broker, |client, id| send_to(client, id, count, body)).await
}

/// Reads that many.
pub(super) async fn receive(broker: &Broker, events: usize) -> Result<()> {
    let count = share(broker, events);
    each_partition(broker, |client, id| receive_from(client, id, count)).await
}

fn share(broker: &Broker, events: usize) -> usize {
    events / broker.partitions as usize
}

async fn each_partition<F>(broker: &Broker, work: impl Fn(EventHubClient, PartitionId) -> F) -> Result<()>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut tasks = Vec::new();
    for id in 0..broker.partitions {
        let connection_string = ConnectionString::parse(&broker.connection_string)?;
        let client = EventHubClient::builder(connection_string).build()?;
        tasks.push(tokio::spawn(work(client, PartitionId::new(id.to_string())?)));
    }
    for done in try_join_all(tasks).await? {
        done.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn send_to(client: EventHubClient, id: PartitionId, count: usize, body: usize) -> Outcome {
    let producer = client.partition_producer(id);
    let event = EventData::new(vec![b'x'; body]);
    let mut left = count;
    while left > 0 {
        let now = left.min(CHUNK);
        producer.send(std::iter::repeat_n(event.clone(), now)).await?;
        left -= now;
    }
    Ok(())
}

async fn receive_from(client: EventHubClient, id: PartitionId, count: usize) -> Outcome {
    let builder = client.partition_receiver(ConsumerGroup::default(), id);
    let builder = builder.starting_position(StartingPosition::Earliest).prefetch(PREFETCH);
    let mut receiver = builder.open().await?;
    let mut left = count;
    while left > 0 {
        left -= receiver.receive_batch(MAX_BATCH.min(left), None).await?.len();
    }
    Ok(())
}
