//! The sections of an encoded message (AMQP 1.0 part 3, §3.2; docs/contract.md §6). The broker looks at
//! annotations and sizes and leaves all else as it came, as the service does.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::codec::encoded::{self, MapWriter};
use crate::event::offset::Offset;

const HEADER: u8 = 0x70;
const DELIVERY_ANNOTATIONS: u8 = 0x71;
const MESSAGE_ANNOTATIONS: u8 = 0x72;
const PROPERTIES: u8 = 0x73;
const APPLICATION_PROPERTIES: u8 = 0x74;
const DATA: u8 = 0x75;
const SEQUENCE: u8 = 0x76;
const VALUE: u8 = 0x77;
const FOOTER: u8 = 0x78;

pub(crate) const PARTITION_KEY: &str = "x-opt-partition-key";
const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
const OFFSET: &str = "x-opt-offset";
const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
/// More than what the annotations of the broker take, in bytes.
const OWN_ANNOTATIONS: usize = 192;

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// A message that came in, as its sections.
#[derive(Debug, Default)]
pub(crate) struct Sections<'a> {
    header: &'a [u8],
    /// The content of the map.
    annotations: &'a [u8],
    /// From the properties to the footer.
    bare: SmallVec<[&'a [u8]; 4]>,
    data: SmallVec<[&'a [u8]; 1]>,
    other_body: bool,
    /// As in all of AMQP, nothing is longer than 4 GiB.
    body_size: u32,
}

/// What the broker adds to an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) sequence_number: i64,
    pub(crate) offset: Offset,
    pub(crate) enqueued_ms: i64,
}

impl<'a> Sections<'a> {
    /// # Errors
    /// When the bytes are no sections, or the annotations no map.
    pub(crate) fn read(mut message: &'a [u8]) -> Result<Self, Malformed> {
        let mut sections = Self::default();
        while !message.is_empty() {
            let (section, rest) = encoded::split_value(message).ok_or(Malformed("a section is cut off"))?;
            sections.add(section)?;
            message = rest;
        }
        Ok(sections)
    }

    fn add(&mut self, section: &'a [u8]) -> Result<(), Malformed> {
        let (descriptor, value) = encoded::describes(section).ok_or(Malformed("a value is no section"))?;
        match descriptor {
            HEADER => self.header = section,
            // they were for this hop
            DELIVERY_ANNOTATIONS => {}
            MESSAGE_ANNOTATIONS => {
                self.annotations =
                    encoded::map_content(value).ok_or(Malformed("the annotations are no map"))?;
                self.check_annotations()?;
            }
            PROPERTIES | APPLICATION_PROPERTIES | FOOTER => self.bare.push(section),
            DATA => {
                let data = encoded::binary(value).ok_or(Malformed("a data section is not binary"))?;
                self.body_size += length(data);
                self.data.push(data);
                self.bare.push(section);
            }
            SEQUENCE | VALUE => {
                self.body_size += length(value);
                self.other_body = true;
                self.bare.push(section);
            }
            _ => return Err(Malformed("a section is not known")),
        }
        Ok(())
    }

    fn check_annotations(&self) -> Result<(), Malformed> {
        let mut content = self.annotations;
        while !content.is_empty() {
            let (_, _, rest) = encoded::split_entry(content).ok_or(Malformed("an annotation is cut off"))?;
            content = rest;
        }
        Ok(())
    }

    fn annotations(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut content = self.annotations;
        std::iter::from_fn(move || {
            let (key, value, rest) = encoded::split_entry(content)?;
            content = rest;
            Some((key, value))
        })
    }

    /// The bytes of the body: of its data, or of the encoding of another one.
    pub(crate) fn body_size(&self) -> u32 {
        self.body_size
    }

    /// The partition key that the producer gave.
    pub(crate) fn partition_key(&self) -> Option<&'a str> {
        let (_, key) = self.annotations().find(|(key, _)| encoded::text(key) == Some(PARTITION_KEY))?;
        encoded::text(key)
    }

    /// The messages of a batch: each of its data sections is one (docs/contract.md §5.1).
    ///
    /// # Errors
    /// When the message has another body.
    pub(crate) fn batch(&self) -> Result<&[&'a [u8]], Malformed> {
        if self.other_body { Err(Malformed("a batch has no data sections")) } else { Ok(&self.data) }
    }

    /// An upper bound of the bytes that [`put_stamped`](Self::put_stamped) writes.
    pub(crate) fn stamped_length(&self) -> usize {
        let bare: usize = self.bare.iter().map(|section| section.len()).sum();
        self.header.len() + self.annotations.len() + OWN_ANNOTATIONS + bare
    }

    /// Writes the message as an event: with our annotations in place of those that a producer may have sent. Takes it out of `buffer`,
    /// which the events of one append share, since an allocation for each of them would cost more than all the rest.
    pub(crate) fn put_stamped(&self, stamp: Stamp, buffer: &mut BytesMut) -> StampedMessage {
        buffer.extend_from_slice(self.header);
        let mut annotations = MapWriter::begin(MESSAGE_ANNOTATIONS, buffer);
        for (key, value) in self.annotations() {
            // An event that is forwarded from another hub still carries what that hub added.
            if !matches!(encoded::text(key), Some(SEQUENCE_NUMBER | OFFSET | ENQUEUED_TIME)) {
                annotations.put_encoded(key, value);
            }
        }
        annotations.put_long(SEQUENCE_NUMBER, stamp.sequence_number);
        annotations.put_string(OFFSET, stamp.offset);
        annotations.put_timestamp(ENQUEUED_TIME, stamp.enqueued_ms);
        annotations.finish();
        for section in &self.bare {
            buffer.extend_from_slice(section);
        }
        StampedMessage { header: length(self.header), bytes: buffer.split().freeze() }
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a message is below 4 GiB")
}

/// An event as it goes out to consumers.
#[derive(Debug, Clone)]
pub(crate) struct StampedMessage {
    /// How long the header section in front is.
    pub(crate) header: u32,
    pub(crate) bytes: Bytes,
}

impl StampedMessage {
    /// The message with these delivery annotations, which belong after the header.
    pub(crate) fn with_delivery_annotations(&self, put: impl FnOnce(&mut MapWriter<'_>)) -> Bytes {
        let (header, rest) = self.bytes.split_at(self.header as usize);
        let mut bytes = BytesMut::with_capacity(self.bytes.len() + OWN_ANNOTATIONS);
        bytes.extend_from_slice(header);
        let mut annotations = MapWriter::begin(DELIVERY_ANNOTATIONS, &mut bytes);
        put(&mut annotations);
        annotations.finish();
        bytes.extend_from_slice(rest);
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_amqp_frames::format::NULL;

    use super::*;

    const STAMP: Stamp =
        Stamp { sequence_number: 7, offset: Offset { era: 0, position: 99 }, enqueued_ms: 1 };

    #[test]
    fn a_data_section_of_null_is_an_empty_body() {
        let message = section(DATA, &[NULL]);
        let sections = Sections::read(&message).unwrap();
        assert_eq!(sections.body_size(), 0);
    }

    fn section(descriptor: u8, value: &[u8]) -> Vec<u8> {
        [&[0, 0x53, descriptor], value].concat()
    }

    #[test]
    fn a_message_is_kept_but_for_what_is_of_this_hop_and_what_the_broker_says() {
        let header = section(0x70, b"\x45");
        let of_hop = section(0x71, b"\xc1\x01\x00");
        let annotations = section(0x72, b"\xc1\x1b\x04\xa3\x0cx-opt-offset\xa1\x01a\xa3\x04kept\xa1\x01b");
        let bare = [section(0x73, b"\x45"), section(0x75, b"\xa0\x03abc"), section(0x78, b"\x40")].concat();
        let message = [header.as_slice(), &of_hop, &annotations, &bare].concat();
        let sections = Sections::read(&message).unwrap();
        assert_eq!(sections.body_size(), 3);
        let stamped = sections.put_stamped(STAMP, &mut BytesMut::new());
        assert!(stamped.bytes.starts_with(&header) && stamped.bytes.ends_with(&bare));
        let again = Sections::read(&stamped.bytes).unwrap();
        let keys: Vec<_> = again.annotations().map(|(key, _)| encoded::text(key).unwrap()).collect();
        assert_eq!(keys, ["kept", SEQUENCE_NUMBER, OFFSET, ENQUEUED_TIME]);
        let offset = again.annotations().nth(2).unwrap().1;
        assert_eq!(encoded::text(offset), Some("99"));
    }

    #[test]
    fn delivery_annotations_stand_between_header_and_the_rest() {
        let message = [section(0x70, b"\x45"), section(0x75, b"\xa0\x00")].concat();
        let stamped = Sections::read(&message).unwrap().put_stamped(STAMP, &mut BytesMut::new());
        let bytes = stamped.with_delivery_annotations(|annotations| annotations.put_long("n", 1));
        assert_eq!(bytes[..7], [0, 0x53, 0x70, 0x45, 0, 0x53, 0x71]);
        assert_eq!(
            Sections::read(&bytes).unwrap().put_stamped(STAMP, &mut BytesMut::new()).bytes,
            stamped.bytes
        );
    }

    #[test]
    fn the_partition_key_is_a_string_or_a_symbol() {
        for (value, expected) in [(b"\xa1\x01k", Some("k")), (b"\xa3\x01k", Some("k")), (b"\xa0\x01k", None)]
        {
            let content = [b"\xa3\x13x-opt-partition-key".as_slice(), value].concat();
            let size = u8::try_from(content.len() + 1).unwrap();
            let message = section(0x72, &[&[0xc1, size, 2], content.as_slice()].concat());
            assert_eq!(Sections::read(&message).unwrap().partition_key(), expected);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, why) in [
            (b"\xff\xff".as_slice(), "a section is cut off"),
            (b"\x00\x53\x75\xa0\x05abc", "a section is cut off"),
            (b"\x40", "a value is no section"),
            (b"\x00\x53\x10\x45", "a section is not known"),
            (b"\x00\x53\x75\x45", "a data section is not binary"),
            (b"\x00\x53\x72\x45", "the annotations are no map"),
            (b"\x00\x53\x72\xc1\x03\x02\xa3\x00", "an annotation is cut off"),
        ] {
            assert_eq!(Sections::read(bytes).unwrap_err(), Malformed(why), "{bytes:x?}");
        }
    }
}
