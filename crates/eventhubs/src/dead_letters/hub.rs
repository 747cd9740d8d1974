//! Dead letters in another event hub: the message as it was, with further application properties.
//!
//! Tests: `tests/it/dead_letters.rs`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use eventhubs_amqp::{RawMessage, ReceivedEvent};
use eventhubs_dead_letters::{BoxError, DeadLetter, DeadLetterSink, async_trait};
use eventhubs_types::{ConsumerScope, EventBody, EventData, Value};

use super::data;
use crate::{Error, ErrorKind, ProducerClient, Result};

// The words of Service Bus for the reason, so that its tools find it.
const REASON: &str = "DeadLetterReason";
const DESCRIPTION: &str = "DeadLetterErrorDescription";
const NAMESPACE: &str = "x-original-namespace";
const EVENT_HUB: &str = "x-original-event-hub";
const CONSUMER_GROUP: &str = "x-original-consumer-group";
const PARTITION: &str = "x-original-partition";
const SEQUENCE_NUMBER: &str = "x-original-sequence-number";
const OFFSET: &str = "x-original-offset";
const ENQUEUED_TIME: &str = "x-original-enqueued-time";
const ATTEMPTS: &str = "x-attempts";
const FIRST_FAILED: &str = "x-first-failed";
const OWNER: &str = "x-owner";
/// Says that the body is the whole message, since nothing can be added to it.
const IN_BODY: &str = "x-original-message-in-body";

/// All of them, as they are taken out of an event again.
const ADDED: [&str; 13] = [
    REASON,
    DESCRIPTION,
    NAMESPACE,
    EVENT_HUB,
    CONSUMER_GROUP,
    PARTITION,
    SEQUENCE_NUMBER,
    OFFSET,
    ENQUEUED_TIME,
    ATTEMPTS,
    FIRST_FAILED,
    OWNER,
    IN_BODY,
];

/// How much is left of a reason where there is little room, in bytes.
const SHORT_REASON: usize = 64;

type Properties = BTreeMap<String, Value>;

/// Dead letters as events of another event hub, which keeps them for its retention time.
///
/// The AMQP message is sent as it was received: its body of whatever kind, properties and partition key stay byte for
/// byte. Added are the application properties `DeadLetterReason` and `DeadLetterErrorDescription`,
/// `x-original-namespace`, `-event-hub`, `-consumer-group`, `-partition`, `-sequence-number`, `-offset` and
/// `-enqueued-time`, `x-attempts`, `x-first-failed` and `x-owner`, in place of those that it may have from an earlier
/// failure.
///
/// Where that is larger than the event hub takes, the description is left out, and if need be all but partition, sequence
/// number and the beginning of the reason. What is still too large is an error: use an event hub that takes messages as
/// large as the first one does and a little more, or another sink. A message to which nothing can be added, because its
/// sections cannot be told apart, is the body of an event with `x-original-message-in-body`.
///
/// A letter that is put twice is in the event hub twice.
///
/// ```
/// # async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # use eventhubs_emulator::Emulator;
/// # use eventhubs::{ConsumerScope, EventData};
/// # use eventhubs::dead_letters::{DeadLetter, DeadLetterSink};
/// # let emulator = Emulator::builder().event_hub("orders-failed", 4).start().await?;
/// # let connection_string = emulator.connection_string("orders-failed");
/// # let scope = ConsumerScope::new("n".parse()?, "orders".parse()?, "group".parse()?);
/// # let letter = DeadLetter::new(scope, "0".parse()?, 7, "70", EventData::new("tea"), "owner".parse()?);
/// use eventhubs::{HubDeadLetters, ProducerClient};
///
/// let sink = HubDeadLetters::new(ProducerClient::builder(connection_string).build()?)?;
/// sink.put(&letter).await?;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct HubDeadLetters {
    producer: ProducerClient,
}

impl HubDeadLetters {
    /// Makes a sink that sends by this client. Nothing is contacted yet.
    ///
    /// The retry policy of the client bounds each call.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when the client is for one partition: the service refuses events
    /// with a partition key there.
    pub fn new(producer: ProducerClient) -> Result<Self> {
        if producer.partition().is_some() {
            let text = "producer: it is for one partition, and dead letters keep their partition keys";
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        Ok(Self { producer })
    }

    /// Returns the letter that an event of the dead-letter hub is; `None` if it is none, or had no room for the names of
    /// where it came from.
    ///
    /// Its message has the added properties, unless it was the body.
    pub fn letter(event: &ReceivedEvent) -> Option<DeadLetter> {
        let properties = Found(event.properties());
        let names =
            (properties.text(NAMESPACE)?, properties.text(EVENT_HUB)?, properties.text(CONSUMER_GROUP)?);
        let scope = ConsumerScope::new(names.0.parse().ok()?, names.1.parse().ok()?, names.2.parse().ok()?);
        let (partition, owner) =
            (properties.text(PARTITION)?.parse().ok()?, properties.text(OWNER)?.parse().ok()?);
        let (number, offset) = (properties.number(SEQUENCE_NUMBER)?, properties.text(OFFSET)?);
        let (reason, description) = (properties.text(REASON), properties.text(DESCRIPTION));
        let attempts = properties.number(ATTEMPTS).and_then(|number| number.try_into().ok());
        let (content, message, undecodable) = content(event);
        let letter = DeadLetter::new(scope, partition, number, offset, content, owner)
            .with_enqueued_time(properties.time(ENQUEUED_TIME))
            .because(reason.unwrap_or_default(), description.unwrap_or_default())
            .after(attempts.unwrap_or(1), properties.time(FIRST_FAILED).unwrap_or(SystemTime::UNIX_EPOCH))
            .with_undecodable_parts(undecodable);
        Some(letter.with_message(message.map(|message| message.bytes().clone())))
    }

    async fn send(&self, letter: &DeadLetter) -> eventhubs_amqp::Result<()> {
        let producer = self.producer.producer();
        let Some(message) = letter.message() else {
            let message = RawMessage::try_from(letter.event())?;
            return producer.send_raw(&message, &choices(letter, false)).await;
        };
        let sent = producer.send_raw(&RawMessage::from(message.clone()), &choices(letter, false)).await;
        match sent {
            Err(error) if error.kind() == eventhubs_amqp::ErrorKind::InvalidArgument => {
                let mut event = EventData::new(message.clone());
                event.partition_key.clone_from(&letter.event().partition_key);
                let in_body = producer.send_raw(&RawMessage::try_from(&event)?, &choices(letter, true)).await;
                // What is too large in both forms is told of the message itself.
                in_body.map_err(|other| if other.is_transient() { other } else { error })
            }
            sent => sent,
        }
    }
}

#[async_trait]
impl DeadLetterSink for HubDeadLetters {
    async fn put(&self, letter: &DeadLetter) -> std::result::Result<(), BoxError> {
        let sent = self.send(letter).await;
        Ok(sent.map_err(|source| Error::amqp("the dead letter could not be sent", source))?)
    }
}

/// What is added to the message: everything, without the description, and the least.
fn choices(letter: &DeadLetter, is_in_body: bool) -> [Properties; 3] {
    let all = all(letter, is_in_body);
    let mut without_description = all.clone();
    without_description.remove(DESCRIPTION);
    let mut least = all.clone();
    least.retain(|name, _| [PARTITION, SEQUENCE_NUMBER, IN_BODY].contains(&name.as_str()));
    let reason = letter.reason();
    let end = (0..=SHORT_REASON.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    least.insert(REASON.to_owned(), reason[..end.unwrap_or_default()].into());
    [all, without_description, least]
}

fn all(letter: &DeadLetter, is_in_body: bool) -> Properties {
    let scope = letter.scope();
    let mut properties: Vec<(&str, Value)> = vec![
        (REASON, letter.reason().into()),
        (DESCRIPTION, letter.description().into()),
        (NAMESPACE, scope.namespace.as_str().into()),
        (EVENT_HUB, scope.event_hub.as_str().into()),
        (CONSUMER_GROUP, scope.consumer_group.as_str().into()),
        (PARTITION, letter.partition().as_str().into()),
        (SEQUENCE_NUMBER, letter.sequence_number().value().into()),
        (OFFSET, letter.offset().as_str().into()),
        (ATTEMPTS, i64::from(letter.attempts()).into()),
        (FIRST_FAILED, letter.first_failed().into()),
        (OWNER, letter.owner().as_str().into()),
    ];
    properties.extend(letter.enqueued_time().map(|time| (ENQUEUED_TIME, time.into())));
    properties.extend(is_in_body.then_some((IN_BODY, true.into())));
    properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The event without what was added, its message, and what could not be decoded.
fn content(event: &ReceivedEvent) -> (EventData, Option<RawMessage>, Vec<String>) {
    let is_in_body = event.properties().get(IN_BODY) == Some(&Value::Bool(true));
    if let Some(message) = event.body_bytes().filter(|_| is_in_body) {
        let mut content = EventData::with_body(EventBody::Undecodable(message.clone()));
        content.partition_key = event.partition_key().map(str::to_owned);
        return (content, Some(message.into()), vec!["body".to_owned()]);
    }
    let mut content = data(event);
    content.properties.retain(|name, _| !ADDED.contains(&name.as_str()));
    (content, event.raw_message(), event.undecodable_parts().to_vec())
}

/// The properties of an event, of whatever type another program wrote them with.
struct Found<'a>(&'a Properties);

impl Found<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    fn time(&self, name: &str) -> Option<SystemTime> {
        match self.0.get(name)? {
            Value::Timestamp(time) => Some(*time),
            _ => None,
        }
    }
}
