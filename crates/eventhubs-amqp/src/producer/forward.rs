//! A message that was received, as it is sent once more: what the sender wrote stays byte for byte, and what the service
//! or the way wrote is left out.
//!
//! Only the sizes that values declare are looked at, so that a part that cannot be decoded is passed on as well.
//!
//! Tests: below, and `tests/it/forward.rs`.

use std::collections::BTreeMap;

use eventhubs_amqp_frames::format::{
    DESCRIBED, MAP8, MAP32, NULL, SMALL_ULONG, STRING8, STRING32, SYMBOL8, SYMBOL32, ULONG,
};
use eventhubs_amqp_frames::{MapHead, element_length, value_length};
use eventhubs_types::Value;

use super::encode::{
    APPLICATION_PROPERTIES, DATA, MAP, MESSAGE_ANNOTATIONS, PARTITION_KEY, put_compound, put_property,
};

const HEADER: u8 = 0x70;
const DELIVERY_ANNOTATIONS: u8 = 0x71;
const PROPERTIES: u8 = 0x73;
const FOOTER: u8 = 0x78;

/// What the service writes into the annotations of each event.
const OF_THE_SERVICE: &[&str] =
    &["x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-id"];

const NO_SECTIONS: &str = "it has no sections that can be told apart";

/// A message that came in, as far as it is passed on.
#[derive(Debug)]
pub(super) struct Forwarded<'a> {
    before: Vec<u8>,
    application_properties: Entries<'a>,
    after: Vec<u8>,
    pub(super) partition_key: Option<String>,
}

impl<'a> Forwarded<'a> {
    /// # Errors
    /// When the sections of the message cannot be told apart; says so.
    pub(super) fn read(mut raw: &'a [u8]) -> Result<Self, &'static str> {
        let mut forwarded = Self {
            before: Vec::new(),
            application_properties: Entries::default(),
            after: Vec::new(),
            partition_key: None,
        };
        let mut last = 0;
        while !raw.is_empty() {
            let length = value_length::<false>(raw).map_err(|_| NO_SECTIONS)?;
            let (section, rest) = raw.split_at(length);
            let (code, value) = describes(section).ok_or(NO_SECTIONS)?;
            let may_repeat = matches!(code, DATA..FOOTER);
            if code < last || code == last && !may_repeat {
                return Err("its sections are out of order");
            }
            forwarded.add(code, value, section)?;
            (last, raw) = (code, rest);
        }
        Ok(forwarded)
    }

    fn add(&mut self, code: u8, value: &'a [u8], section: &'a [u8]) -> Result<(), &'static str> {
        match code {
            HEADER | PROPERTIES => self.before.extend_from_slice(section),
            DELIVERY_ANNOTATIONS => {}
            MESSAGE_ANNOTATIONS => {
                let mut annotations = Entries::read(value)?;
                annotations.remove(|name| OF_THE_SERVICE.contains(&name));
                self.partition_key = annotations.text(PARTITION_KEY);
                annotations.put(&mut self.before, MESSAGE_ANNOTATIONS, &[]);
            }
            APPLICATION_PROPERTIES => self.application_properties = Entries::read(value)?,
            DATA..=FOOTER => self.after.extend_from_slice(section),
            _ => return Err("it has a section that is not known"),
        }
        Ok(())
    }

    /// Encodes the message with these application properties, which come first and replace those of the same name.
    ///
    /// # Errors
    /// When a property is no simple value; says so.
    pub(super) fn with(&self, added: &BTreeMap<String, Value>) -> Result<Vec<u8>, String> {
        let mut entries = Vec::new();
        for (name, value) in added {
            put_property(&mut entries, name, value)?;
        }
        let mut kept = self.application_properties.clone();
        kept.remove(|name| added.contains_key(name));
        kept.count += 2 * added.len();
        let mut message = self.before.clone();
        kept.put(&mut message, APPLICATION_PROPERTIES, &entries);
        message.extend_from_slice(&self.after);
        Ok(message)
    }
}

/// Descriptor and value of a section.
fn describes(section: &[u8]) -> Option<(u8, &[u8])> {
    match section {
        [DESCRIBED, SMALL_ULONG, code, value @ ..]
        | [DESCRIBED, ULONG, 0, 0, 0, 0, 0, 0, 0, code, value @ ..] => Some((*code, value)),
        _ => None,
    }
}

/// The entries of an encoded map, and what follows the last of them that can be told from the next.
#[derive(Debug, Clone, Default)]
struct Entries<'a> {
    /// Keys and values.
    count: usize,
    /// Each with its key.
    known: Vec<(&'a [u8], &'a [u8])>,
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    fn read(map: &'a [u8]) -> Result<Self, &'static str> {
        match map.first() {
            Some(&NULL) => return Ok(Self::default()),
            Some(&(MAP8 | MAP32)) => {}
            _ => return Err("its annotations or properties are no map"),
        }
        let head = MapHead::read::<false>(map).map_err(|_| NO_SECTIONS)?;
        let mut entries = Self { count: head.count, known: Vec::new(), rest: &map[head.header..head.length] };
        while entries.known.len() < head.count / 2
            && let Some((key, value, rest)) = split_entry(entries.rest)
        {
            entries.known.push((key, value));
            entries.rest = rest;
        }
        Ok(entries)
    }

    fn remove(&mut self, is_unwanted: impl Fn(&str) -> bool) {
        let before = self.known.len();
        self.known.retain(|(key, _)| !text(key).is_some_and(&is_unwanted));
        self.count -= 2 * (before - self.known.len());
    }

    /// The text of this name.
    fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self.known.iter().find(|(key, _)| text(key) == Some(name))?;
        text(value).map(str::to_owned)
    }

    /// Writes a section of these entries after others, unless there are none.
    fn put(&self, message: &mut Vec<u8>, descriptor: u8, first: &[u8]) {
        if self.count == 0 {
            return;
        }
        let known = self.known.iter().flat_map(|(key, value)| [*key, *value]);
        let content: Vec<&[u8]> = [first].into_iter().chain(known).chain([self.rest]).collect();
        put_compound(message, descriptor, MAP, self.count, &content.concat());
    }
}

fn split_entry(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key, rest) = split(content)?;
    let (value, rest) = split(rest)?;
    Some((key, value, rest))
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element_length::<false>(bytes).ok().and_then(|length| bytes.split_at_checked(length))
}

/// The content of a string or symbol.
fn text(value: &[u8]) -> Option<&str> {
    let bytes = match *value.first()? {
        STRING8 | SYMBOL8 => value.get(2..)?,
        STRING32 | SYMBOL32 => value.get(5..)?,
        _ => return None,
    };
    str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn section(code: u8, value: &[u8]) -> Vec<u8> {
        [&[0x00, 0x53, code], value].concat()
    }

    fn map(entries: &[&[u8]]) -> Vec<u8> {
        let content = entries.concat();
        let size = u8::try_from(content.len() + 1).unwrap();
        [&[0xc1, size, u8::try_from(entries.len()).unwrap()], &content[..]].concat()
    }

    /// As the producer writes maps.
    fn wide_map(entries: &[&[u8]]) -> Vec<u8> {
        let content = entries.concat();
        let size = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
        [&[0xd1], &size[..], &u32::try_from(entries.len()).unwrap().to_be_bytes(), &content].concat()
    }

    fn symbol(text: &str) -> Vec<u8> {
        [&[0xa3, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    }

    /// As the producer writes strings.
    fn string(text: &str) -> Vec<u8> {
        [&[0xb1], &u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
    }

    fn added() -> BTreeMap<String, Value> {
        BTreeMap::from([("why".to_owned(), Value::Bool(true))])
    }

    fn forward(message: &[u8]) -> Result<Vec<u8>, String> {
        Forwarded::read(message).map_err(str::to_owned)?.with(&added())
    }

    #[test]
    fn only_what_the_service_and_the_way_wrote_is_left_out() {
        let header = section(HEADER, &[0x45]);
        let of_the_way = section(DELIVERY_ANNOTATIONS, &map(&[&symbol("k"), &[0x41]]));
        let annotations = map(&[
            &symbol("x-opt-sequence-number"),
            &[0x54, 7],
            &symbol("iothub-device"),
            &symbol("d"),
            &symbol("x-opt-offset"),
            &symbol("70"),
            &symbol("x-opt-partition-key"),
            &symbol("kitchen"),
        ]);
        let properties = section(PROPERTIES, &[0xc0, 3, 1, 0xa1, 0]);
        let application = map(&[&symbol("colour"), &[0x42], &symbol("why"), &symbol("old")]);
        let after = [section(0x76, &[0x45]), section(0x76, &[0xc0, 2, 1, 0x41]), section(FOOTER, &map(&[]))];
        let message = [
            header.clone(),
            of_the_way,
            section(MESSAGE_ANNOTATIONS, &annotations),
            properties.clone(),
            section(APPLICATION_PROPERTIES, &application),
            after.concat(),
        ];
        let kept = wide_map(&[
            &symbol("iothub-device"),
            &symbol("d"),
            &symbol("x-opt-partition-key"),
            &symbol("kitchen"),
        ]);
        let expected = [
            header,
            section(MESSAGE_ANNOTATIONS, &kept),
            properties,
            section(
                APPLICATION_PROPERTIES,
                &wide_map(&[&string("why"), &[0x41], &symbol("colour"), &[0x42]]),
            ),
            after.concat(),
        ];
        let message = message.concat();
        assert_eq!(forward(&message).unwrap(), expected.concat());
        assert_eq!(Forwarded::read(&message).unwrap().partition_key.as_deref(), Some("kitchen"));
    }

    #[test]
    fn properties_come_before_the_body_where_there_were_none() {
        let expected_properties = section(APPLICATION_PROPERTIES, &wide_map(&[&string("why"), &[0x41]]));
        for (before, after) in [
            (vec![], section(DATA, &[0xa0, 1, 7])),
            (section(PROPERTIES, &[0x45]), section(0x77, &[0x40])),
            (section(HEADER, &[0x45]), vec![]),
        ] {
            let expected = [before.clone(), expected_properties.clone(), after.clone()].concat();
            assert_eq!(forward(&[before, after].concat()).unwrap(), expected);
        }
        let null = section(APPLICATION_PROPERTIES, &[NULL]);
        assert_eq!(forward(&null).unwrap(), expected_properties);
    }

    #[test]
    fn what_cannot_be_decoded_stays_byte_for_byte_after_what_is_added() {
        let bad_text: &[u8] = &[0xa1, 1, 0xff];
        let cut_off: &[u8] = &[0xa1, 200, b'x'];
        let body = section(0x77, &[0xd0, 0, 0, 0, 4, 0, 1, 0, 1]);
        for bad in [bad_text, cut_off] {
            let message = [
                section(APPLICATION_PROPERTIES, &map(&[&symbol("good"), &[0x41], &symbol("bad"), bad])),
                body.clone(),
            ];
            let properties =
                wide_map(&[&string("why"), &[0x41], &symbol("good"), &[0x41], &symbol("bad"), bad]);
            let expected = [section(APPLICATION_PROPERTIES, &properties), body.clone()].concat();
            assert_eq!(forward(&message.concat()).unwrap(), expected);
        }
    }

    #[test]
    fn what_has_no_sections_in_order_is_refused() {
        let body = section(DATA, &[0xa0, 1, 7]);
        let late = [body.clone(), section(APPLICATION_PROPERTIES, &map(&[]))].concat();
        let unknown = [body, section(0x79, &[0x41])].concat();
        let twice = section(APPLICATION_PROPERTIES, &map(&[&symbol("colour"), &[0x41]])).repeat(2);
        for message in
            [&b"\xff"[..], b"\x40", b"\x00\x53\x75\xa0\x05abc", &late, &unknown, &twice, b"\x00\x53\x72\x45"]
        {
            assert!(Forwarded::read(message).is_err(), "{message:x?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn any_bytes_are_forwarded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), code in 0x70_u8..0x79) {
            let message = section(code, &bytes);
            if let Ok(sent) = forward(&message) {
                prop_assert!(Forwarded::read(&sent).is_ok());
            }
        }
    }
}
