//! A dead letter: an event that could not be handled, where it came from, and why.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use eventhubs_types::{ConsumerScope, EventBody, EventData, Offset, OwnerId, PartitionId, SequenceNumber};

/// The most bytes of a reason; a longer one is cut.
pub const MAX_REASON: usize = 1024;

/// The most bytes of a description; a longer one is cut.
pub const MAX_DESCRIPTION: usize = 4096;

/// The last millisecond of the year 9999, which is the last one that any database takes.
const LAST_MILLISECOND: u64 = 253_402_300_799_999;

/// An event that could not be handled, with all that is needed to handle it later.
///
/// Times are whole milliseconds between 1970 and 9999, as the service counts them, so that a letter that is read
/// again is equal to the one that was put.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
///
/// use eventhubs_dead_letters::DeadLetter;
/// use eventhubs_types::{ConsumerScope, EventData};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let scope = ConsumerScope::new("contoso.servicebus.windows.net".parse()?, "orders".parse()?, "$Default".parse()?);
/// let event = EventData::new("21.5 °C");
/// let letter = DeadLetter::new(scope, "0".parse()?, 7, "4096", event, "instance-1".parse()?)
///     .because("NotANumber", "invalid float literal at 5")
///     .after(5, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
/// assert_eq!((letter.attempts(), letter.reason()), (5, "NotANumber"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct DeadLetter {
    scope: ConsumerScope,
    partition: PartitionId,
    sequence_number: SequenceNumber,
    offset: Offset,
    enqueued_time: Option<SystemTime>,
    event: EventData,
    undecodable_parts: Vec<String>,
    message: Option<Bytes>,
    reason: String,
    description: String,
    attempts: u32,
    first_failed: SystemTime,
    owner: OwnerId,
}

impl DeadLetter {
    /// Makes a letter of an event that failed once, without a reason; first failed is 1970.
    pub fn new(
        scope: ConsumerScope,
        partition: PartitionId,
        sequence_number: impl Into<SequenceNumber>,
        offset: impl Into<Offset>,
        event: EventData,
        owner: OwnerId,
    ) -> Self {
        Self {
            scope,
            partition,
            sequence_number: sequence_number.into(),
            offset: offset.into(),
            enqueued_time: None,
            event,
            undecodable_parts: Vec::new(),
            message: None,
            reason: String::new(),
            description: String::new(),
            attempts: 1,
            first_failed: UNIX_EPOCH,
            owner,
        }
    }

    /// Sets when the service enqueued the event.
    #[must_use]
    pub fn with_enqueued_time(mut self, time: Option<SystemTime>) -> Self {
        self.enqueued_time = time.map(in_milliseconds);
        self
    }

    /// Sets the AMQP message that the event was decoded from, byte for byte.
    #[must_use]
    pub fn with_message(mut self, message: Option<Bytes>) -> Self {
        self.message = message;
        self
    }

    /// Sets the names of what could not be decoded, for example `application properties colour`.
    #[must_use]
    pub fn with_undecodable_parts(mut self, parts: Vec<String>) -> Self {
        self.undecodable_parts = parts;
        self
    }

    /// Sets the scope, for the suite.
    #[cfg(feature = "testkit")]
    pub(crate) fn with_scope(mut self, scope: ConsumerScope) -> Self {
        self.scope = scope;
        self
    }

    /// Sets the event.
    pub(crate) fn with_event(mut self, event: EventData) -> Self {
        self.event = event;
        self
    }

    /// Sets why the event could not be handled: a short word to search by, and the text of the error. They are
    /// cut to [`MAX_REASON`] and [`MAX_DESCRIPTION`] bytes. The NUL character, which databases do not take, is
    /// replaced by U+FFFD.
    #[must_use]
    pub fn because(mut self, reason: &str, description: &str) -> Self {
        self.reason = cut(reason, MAX_REASON);
        self.description = cut(description, MAX_DESCRIPTION);
        self
    }

    /// Sets how many times the handler was called for the event, and when it failed first.
    #[must_use]
    pub fn after(mut self, attempts: u32, first_failed: SystemTime) -> Self {
        self.attempts = attempts;
        self.first_failed = in_milliseconds(first_failed);
        self
    }

    /// Returns the consumer group that the event was read for.
    pub fn scope(&self) -> &ConsumerScope {
        &self.scope
    }

    /// Returns the partition that the event came from.
    pub fn partition(&self) -> &PartitionId {
        &self.partition
    }

    /// Returns the number of the event in its partition.
    pub fn sequence_number(&self) -> SequenceNumber {
        self.sequence_number
    }

    /// Returns the position of the event in its partition, as opaque text.
    pub fn offset(&self) -> &Offset {
        &self.offset
    }

    /// Returns when the service enqueued the event, if it said so.
    pub fn enqueued_time(&self) -> Option<SystemTime> {
        self.enqueued_time
    }

    /// Returns the event, as far as it could be decoded.
    pub fn event(&self) -> &EventData {
        &self.event
    }

    /// Returns the names of what could not be decoded; usually none.
    pub fn undecodable_parts(&self) -> &[String] {
        &self.undecodable_parts
    }

    /// Returns the AMQP message that the event was decoded from, byte for byte; `None` for an event that was
    /// not received, as in a test.
    pub fn message(&self) -> Option<&Bytes> {
        self.message.as_ref()
    }

    /// Returns the short reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the text of the error.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns how many times the handler was called for the event.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns when the handler failed for the first time.
    pub fn first_failed(&self) -> SystemTime {
        self.first_failed
    }

    /// Returns the instance that gave the event up.
    pub fn owner(&self) -> &OwnerId {
        &self.owner
    }
}

/// Shows where the event came from and the reason, not what is in it: letters end up in logs.
impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.as_ref().map(Bytes::len);
        f.debug_struct("DeadLetter")
            .field("scope", &self.scope)
            .field("partition", &self.partition)
            .field("sequence_number", &self.sequence_number)
            .field("offset", &self.offset)
            .field("reason", &self.reason)
            .field("attempts", &self.attempts)
            .field("body_len", &self.event.body.bytes().map(|bytes| bytes.len()))
            .field("message_len", &message)
            .field("is_undecodable", &matches!(self.event.body, EventBody::Undecodable(_)))
            .finish_non_exhaustive()
    }
}

fn in_milliseconds(time: SystemTime) -> SystemTime {
    time_of(milliseconds(time))
}

/// The milliseconds since 1970, between 0 and the year 9999.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(LAST_MILLISECOND).min(LAST_MILLISECOND)
}

/// The time this many milliseconds after 1970, up to the year 9999.
pub(crate) fn time_of(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds.min(LAST_MILLISECOND))
}

fn cut(text: &str, most: usize) -> String {
    let text = text.replace('\0', "\u{fffd}");
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        let scope =
            ConsumerScope::new("n".parse().unwrap(), "hub".parse().unwrap(), "group".parse().unwrap());
        let event = EventData::new("secret body");
        DeadLetter::new(scope, "0".parse().unwrap(), 7, "70", event, "owner".parse().unwrap())
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_hold_no_nul() {
        let letter = letter().because(&"ß".repeat(MAX_REASON), "a\0b");
        assert_eq!(letter.reason(), "ß".repeat(MAX_REASON / 2));
        assert_eq!(letter.description(), "a\u{fffd}b");
        let odd = letter.because(&format!("a{}", "ß".repeat(MAX_REASON)), "");
        assert_eq!(odd.reason().len(), MAX_REASON - 1);
    }

    #[test]
    fn times_are_whole_milliseconds_that_every_sink_can_keep() {
        let at = |time| letter().after(1, time).first_failed();
        let exact = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(at(exact + Duration::from_nanos(999_999)), exact);
        assert_eq!(at(UNIX_EPOCH - Duration::from_secs(1)), UNIX_EPOCH);
        let far = UNIX_EPOCH + Duration::from_secs(1 << 60);
        assert_eq!(at(far), UNIX_EPOCH + Duration::from_millis(LAST_MILLISECOND));
        let letter = letter().with_enqueued_time(Some(far));
        assert_eq!(letter.enqueued_time(), Some(at(far)));
    }

    #[test]
    fn debug_does_not_show_the_event() {
        let letter = letter().with_message(Some("secret message".into()));
        assert!(!format!("{letter:?}").contains("secret"), "{letter:?}");
    }
}
