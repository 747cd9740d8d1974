//! The flags of `eventhubs send`, and the stream of events they describe.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, builder::NonEmptyStringValueParser};
use eventhubs_amqp::{ConnectionString, EventHubClient};
use eventhubs_types::{EventData, EventHubName, PartitionId};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::lines::lines;
use super::load::Load;
use super::pace::Pace;
use super::target::Target;
use crate::Result;

const EXAMPLES: &str = r#"Examples:
  eventhubs send --hub orders "one cup of tea"
      One event. The connection string comes from EVENTHUBS_CONNECTION_STRING.
  tail -f events.log | eventhubs send --hub orders --key kitchen --property source=log
      An event for each line.
  eventhubs send --hub orders --size 1024 --keys 100 --rate 500 --duration 60 --json
      One minute of load: 500 events per second of 1 KiB each, with 100 partition keys, and a line of JSON at the end.

An event is sent again when its acknowledgement does not come: it arrives at least once. To reach an emulator over TLS, leave
UseDevelopmentEmulator out and set SSL_CERT_FILE to what `eventhubs emulator --certificate` wrote."#;

/// Send events to an event hub.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The body of the event. Without it, --file and --size, each line of standard input is an event.
    #[arg(conflicts_with_all = ["file", "size"])]
    body: Option<String>,

    /// Connect to this namespace.
    #[arg(long, env = "EVENTHUBS_CONNECTION_STRING", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    connection_string: String,

    /// The event hub, unless the connection string names one.
    #[arg(long, value_name = "NAME")]
    hub: Option<EventHubName>,

    /// Send to this partition. Without it and a key, the partitions are taken in turn.
    #[arg(long, value_name = "ID", conflicts_with_all = ["key", "keys"])]
    partition: Option<PartitionId>,

    /// Send with this partition key: the same key goes to the same partition.
    #[arg(long)]
    key: Option<String>,

    /// Give each event this property; may be given several times.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,

    /// Send the content of this file as one event.
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    file: Option<PathBuf>,

    /// Send random bodies of this size; the same --seed gives the same bodies.
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,

    /// Spread random events over this many partition keys.
    #[arg(long, value_name = "COUNT", requires = "size", conflicts_with = "key", value_parser = clap::value_parser!(u32).range(1..))]
    keys: Option<u32>,

    /// What random events are derived from.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Send this many events: the same body again, or at most this many lines. Default: 1, unless --duration or standard input is used.
    #[arg(long)]
    count: Option<u64>,

    /// Send for this long.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,

    /// Send this many events per second. Default: as many as possible.
    #[arg(long, value_name = "EVENTS", value_parser = rate)]
    rate: Option<f64>,

    /// Print the summary as one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Options {
    /// # Errors
    /// When connection string and event hub do not make sense; the text holds no secret.
    pub(super) fn client(&self) -> Result<EventHubClient> {
        let mut builder = EventHubClient::builder(ConnectionString::parse(&self.connection_string)?);
        if let Some(hub) = &self.hub {
            builder = builder.event_hub(hub);
        }
        Ok(builder.build()?)
    }

    /// Where the events go.
    ///
    /// # Errors
    /// When the event hub cannot be reached.
    pub(super) async fn target(&self, client: &EventHubClient) -> Result<Target> {
        match (&self.partition, self.key.is_some() || self.keys.is_some()) {
            (Some(partition), _) => Ok(Target::One(client.partition_producer(partition.clone()))),
            (None, true) => Ok(Target::One(client.producer())),
            (None, false) => Target::in_turn(client).await,
        }
    }

    pub(super) fn pace(&self) -> Pace {
        Pace::new(self.rate)
    }

    /// What to send.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn events(&self) -> Result<BoxStream<'static, io::Result<EventData>>> {
        let (events, is_input) = match (&self.body, &self.file, self.size) {
            (Some(body), _, _) => (repeated(body.clone()), false),
            (_, Some(file), _) => {
                let body = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
                (repeated(body), false)
            }
            (_, _, Some(size)) => {
                let load = Load { size, keys: self.keys, seed: self.seed };
                (stream::iter(load.events().map(Ok)).boxed(), false)
            }
            (None, None, None) => (lines(), true),
        };
        let count = self.count.or((self.duration.is_none() && !is_input).then_some(1));
        let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let events = events.take(count);
        let events = match self.duration {
            Some(duration) => events.take_until(sleep_until(Instant::now() + duration)).boxed(),
            None => events.boxed(),
        };
        let (key, properties) = (self.key.clone(), self.properties.clone());
        Ok(events.map(move |event| event.map(|event| dressed(event, key.as_ref(), &properties))).boxed())
    }
}

fn dressed(mut event: EventData, key: Option<&String>, properties: &[(String, String)]) -> EventData {
    event.partition_key = event.partition_key.or_else(|| key.cloned());
    event.properties.extend(properties.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
    event
}

fn repeated(body: impl Into<EventData>) -> BoxStream<'static, io::Result<EventData>> {
    let event = body.into();
    stream::repeat_with(move || Ok(event.clone())).boxed()
}

fn property(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("there is no = between name and value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn rate(text: &str) -> std::result::Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=1e9).contains(rate));
    rate.ok_or_else(|| "not a number from 0.001 to 1000000000".to_owned())
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=1e9).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "not a number of seconds".to_owned())
}
