//! A received message section by section, for those who need more of AMQP than an event has.
//!
//! Tests: below.

use bytes::Bytes;
use eventhubs_amqp_frames::value_length;
use eventhubs_types::Value;

use crate::event::descriptor;
use crate::event::reader::Reader;

/// A message as it came from the service, encoded in AMQP 1.0 (part 3, §3.2).
///
/// ```
/// # use eventhubs_emulator::Emulator;
/// # use eventhubs_amqp::{ConnectionString, EventHubClient};
/// # use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
/// use eventhubs_amqp::Section;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let emulator = Emulator::builder().event_hub("orders", 1).start().await?;
/// # emulator.publish_to("orders", "0", ["a"])?;
/// # let text = emulator.connection_string("orders");
/// # let client = EventHubClient::builder(ConnectionString::parse(&text)?).build()?;
/// # let receiver = client.partition_receiver(ConsumerGroup::default(), PartitionId::new("0")?);
/// # let mut receiver = receiver.starting_position(StartingPosition::Earliest).open().await?;
/// let event = receiver.receive_batch(1, None).await?.remove(0);
/// let sections = event.raw_message().map(|message| message.sections()).unwrap_or_default();
/// assert!(sections.iter().any(|(section, _)| *section == Section::Data));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    bytes: Bytes,
}

/// The sections of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Section {
    /// How the message was to be delivered, as a list.
    Header,
    /// What a node on the way told the next one, as a map.
    DeliveryAnnotations,
    /// What the nodes on the way told all others, as a map.
    MessageAnnotations,
    /// The properties that AMQP knows, as a list in the order of the specification.
    Properties,
    /// The properties that the sender gave, as a map.
    ApplicationProperties,
    /// Bytes of the body.
    Data,
    /// Values of the body, as a list.
    Sequence,
    /// The value that is the body.
    Value,
    /// What could be told only at the end, as a map.
    Footer,
}

impl Section {
    fn of(code: u8) -> Option<Self> {
        Some(match code {
            descriptor::HEADER => Self::Header,
            descriptor::DELIVERY_ANNOTATIONS => Self::DeliveryAnnotations,
            descriptor::MESSAGE_ANNOTATIONS => Self::MessageAnnotations,
            descriptor::PROPERTIES => Self::Properties,
            descriptor::APPLICATION_PROPERTIES => Self::ApplicationProperties,
            descriptor::DATA => Self::Data,
            descriptor::SEQUENCE => Self::Sequence,
            descriptor::VALUE => Self::Value,
            descriptor::FOOTER => Self::Footer,
            _ => return None,
        })
    }
}

/// Takes a message that was kept, as it was received.
impl From<Bytes> for RawMessage {
    fn from(bytes: Bytes) -> Self {
        Self { bytes }
    }
}

impl RawMessage {
    /// The encoded message.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The sections in the order in which they came, up to the first that cannot be decoded safely.
    pub fn sections(&self) -> Vec<(Section, Value)> {
        let mut sections = Vec::new();
        let mut at = 0;
        while let Ok(length) = value_length::<true>(&self.bytes[at..])
            && let Some(Value::Described { descriptor, value }) = Reader::at(&self.bytes, at).value()
            && let Value::U64(code) = *descriptor
            && let Some(section) = u8::try_from(code).ok().and_then(Section::of)
        {
            sections.push((section, *value));
            at += length;
        }
        sections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sections_are_shown_up_to_one_that_cannot_be_decoded() {
        let good = [
            &[0x00, 0x53, 0x70, 0xc0, 2, 1, 0x41][..],
            &[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x72, 0xc1, 6, 2, 0xa3, 1, b'k', 0x52, 9],
            &[0x00, 0x53, 0x75, 0xa0, 2, 1, 2],
        ]
        .concat();
        let expected = vec![
            (Section::Header, Value::List(vec![Value::Bool(true)])),
            (Section::MessageAnnotations, Value::Map(vec![(Value::Symbol("k".to_owned()), Value::U32(9))])),
            (Section::Data, Value::Binary(Bytes::from_static(&[1, 2]))),
        ];
        assert_eq!(RawMessage::from(Bytes::from(good.clone())).sections(), expected);
        for bad in [&[0x00, 0x53, 0x78, 0xc1][..], &[0x00, 0x53, 0x99, 0x40], &[0x40], &[0; 5_000]] {
            let bytes = [&good, bad].concat();
            assert_eq!(RawMessage::from(Bytes::from(bytes)).sections(), expected, "{:?}", &bad[..1]);
        }
        assert_eq!(RawMessage::from(Bytes::new()).sections(), []);
    }
}
