//! The witness of Microsoft's Rust SDK: `eventhubs-witness CONNECTION_STRING [--websocket]`. One request a line comes in, and
//! what there is to say goes out as lines of JSON.

mod words;

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::sync::Arc;

use azure_core::time::Duration;
use azure_messaging_eventhubs::models::{AmqpTransport, StartPositions};
use azure_messaging_eventhubs::processor::PartitionClient;
use azure_messaging_eventhubs::{
    ConsumerClient, EventProcessor, InMemoryCheckpointStore, OpenReceiverOptions, ProducerClient,
    RetryOptions, SendMessageOptions, StartLocation, StartPosition,
};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use words::{Read, Request, Send};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The SDK's streams cannot move between threads.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    LocalSet::new().run_until(obey(Witness::new())).await
}

async fn obey(mut witness: Witness) -> Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let asked: Value = serde_json::from_str(&line)?;
        let mut answer = match Request::try_from(&asked) {
            Ok(request) => match witness.answer(request).await {
                Ok(ok) => json!({ "ok": ok }),
                Err(error) => json!({ "error": words::chain(&*error) }),
            },
            Err(absent) => json!({ "absent": absent }),
        };
        answer["id"] = asked["id"].clone();
        println!("{answer}");
    }
    std::process::exit(0)
}

struct Witness {
    connection_string: String,
    transport: AmqpTransport,
    /// The emulator, for the SDK reads no port from a connection string.
    endpoint: String,
    /// Of all processors of this process.
    store: Arc<InMemoryCheckpointStore>,
    readers: HashMap<String, Reader>,
}

/// A task that reads until it is told to stop.
struct Reader {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Witness {
    fn new() -> Self {
        let connection_string =
            env::args().nth(1).expect("usage: eventhubs-witness CONNECTION_STRING [--websocket]");
        let host = connection_string.split(['/', ';']).nth(2).expect("Endpoint=sb://host:port");
        let (scheme, transport) = match env::args().any(|argument| argument == "--websocket") {
            true => ("amqps", AmqpTransport::WebSocket),
            false => ("amqp", AmqpTransport::Tcp),
        };
        Self {
            endpoint: format!("{scheme}://{host}"),
            connection_string,
            transport,
            store: Arc::default(),
            readers: HashMap::new(),
        }
    }

    async fn answer(&mut self, request: Request) -> Result<Value> {
        match request {
            Request::Properties { hub } => {
                let client = self.consumer(&hub, "$Default", RetryOptions::default()).await?;
                let properties = words::hub(client.get_eventhub_properties().await?);
                client.close().await?;
                return Ok(properties);
            }
            Request::Partition { hub, partition } => {
                let client = self.consumer(&hub, "$Default", RetryOptions::default()).await?;
                let properties = words::partition(client.get_partition_properties(&partition).await?);
                client.close().await?;
                return Ok(properties);
            }
            Request::Send(send) => self.send(send).await?,
            Request::Read(read) => self.read(read).await?,
            Request::Process { reader, hub } => self.process(reader, &hub).await?,
            Request::Stop { reader } => {
                let reader = self.readers.remove(&reader).ok_or("there is no such reader")?;
                // it may have ended by itself
                let _ = reader.stop.send(());
                reader.task.await?;
            }
        }
        Ok(Value::Null)
    }

    async fn consumer(&self, hub: &str, group: &str, retries: RetryOptions) -> Result<ConsumerClient> {
        let builder = ConsumerClient::builder()
            .with_consumer_group(group.to_owned())
            .with_custom_endpoint(self.endpoint.clone())
            .with_transport(self.transport)
            .with_retry_options(retries);
        Ok(builder.open_with_connection_string(&self.connection_string, Some(hub)).await?)
    }

    async fn send(&self, send: Send) -> Result<()> {
        let builder = ProducerClient::builder()
            .with_custom_endpoint(self.endpoint.clone())
            .with_transport(self.transport);
        let producer = builder.open_with_connection_string(&self.connection_string, Some(&send.hub)).await?;
        if let Some(options) = send.batch() {
            let batch = producer.create_batch(Some(options)).await?;
            for message in send.messages() {
                assert!(batch.try_add_amqp_message(message, None)?, "the batch is full");
            }
            producer.send_batch(batch, None).await?;
        } else {
            for message in send.messages() {
                let options = SendMessageOptions { partition_id: send.partition.clone() };
                producer.send_message(message, Some(options)).await?;
            }
        }
        Ok(producer.close().await?)
    }

    async fn read(&mut self, read: Read) -> Result<()> {
        let client = self.consumer(&read.hub, &read.group, read.retries()).await?;
        let options = OpenReceiverOptions {
            owner_level: read.owner_level,
            start_position: Some(read.position()),
            ..OpenReceiverOptions::default()
        };
        let receiver = client.open_receiver_on_partition(read.partition.clone(), Some(options)).await?;
        let (stop, stopped) = oneshot::channel();
        let reader = read.reader.clone();
        let task = spawn_local(async move {
            let reading = async {
                let mut events = receiver.stream_events();
                while let Some(event) = events.next().await {
                    words::say(&read.reader, &read.partition, event);
                }
            };
            tokio::select! {
                () = reading => {}
                _ = stopped => {}
            }
            // a link that has ended cannot be closed
            let _ = receiver.close().await;
            let _ = client.close().await;
        });
        self.readers.insert(reader, Reader { stop, task });
        Ok(())
    }

    async fn process(&mut self, reader: String, hub: &str) -> Result<()> {
        let client = self.consumer(hub, "$Default", RetryOptions::default()).await?;
        let earliest = StartPosition { location: StartLocation::Earliest, inclusive: false };
        let processor = EventProcessor::builder()
            .with_update_interval(Duration::seconds(1))
            .with_partition_expiration_duration(Duration::seconds(10))
            .with_start_positions(StartPositions { default: earliest, ..StartPositions::default() })
            .build(client, self.store.clone())
            .await?;
        let (stop, stopped) = oneshot::channel();
        let name = reader.clone();
        let task = spawn_local(async move {
            tokio::select! {
                ended = processor.run() => words::say(&name, "", ended.map(|()| unreachable!("nobody stops it")).map_err(Into::into)),
                () = hand_out(&processor, &name) => {}
                _ = stopped => {}
            }
            let _ = processor.shutdown().await;
        });
        self.readers.insert(reader, Reader { stop, task });
        Ok(())
    }
}

/// Reads each partition that the processor gets.
async fn hand_out(processor: &EventProcessor, reader: &str) {
    let mut partitions = tokio::task::JoinSet::new();
    while let Ok(partition) = processor.next_partition_client().await {
        partitions.spawn_local(handle(partition, reader.to_owned()));
    }
}

async fn handle(partition: Arc<PartitionClient>, reader: String) {
    let mut events = partition.stream_events();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => partition.update_checkpoint(&event).await.map(|()| event),
            Err(error) => Err(error),
        };
        words::say(&reader, partition.get_partition_id(), event);
    }
}
