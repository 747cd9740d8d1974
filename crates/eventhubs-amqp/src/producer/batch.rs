//! Which events go out together.
//!
//! Tests: below.

use eventhubs_types::EventData;
use fe2o3_amqp::Sendable;
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{Batch as Sections, Data, Message, MessageAnnotations};
use serde_amqp::Value;
use serde_amqp::primitives::Binary;

use super::encode::{PARTITION_KEY, encode};
use crate::{Error, Result};

/// The message format of a batch: each data section is an encoded message.
const BATCH_FORMAT: u32 = 0x8001_3700;
/// What the descriptor, the constructor and the size of a data section take at most, in bytes.
const SECTION: usize = 8;
/// What the annotations of the envelope take besides the partition key, in bytes; a little more than that.
const ENVELOPE: usize = 64;

pub(super) type Body = Sections<Data>;

/// Events that go out in one message.
#[derive(Debug)]
pub(super) struct Batch {
    partition_key: Option<String>,
    events: Vec<Vec<u8>>,
    size: usize,
}

impl Batch {
    fn new(partition_key: Option<String>) -> Self {
        let size = ENVELOPE + partition_key.as_ref().map_or(0, String::len);
        Self { partition_key, events: Vec::new(), size }
    }

    /// A batch of one event, if it is not larger than the limit.
    pub(super) fn of_one(partition_key: Option<String>, event: Vec<u8>, limit: u64) -> Option<Self> {
        let mut batch = Self::new(partition_key);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        batch.takes(&event, limit).then(|| {
            batch.push(event);
            batch
        })
    }

    fn takes(&self, event: &[u8], limit: usize) -> bool {
        self.size + SECTION + event.len() <= limit
    }

    fn push(&mut self, event: Vec<u8>) {
        self.size += SECTION + event.len();
        self.events.push(event);
    }

    pub(super) fn sendable(&self) -> Sendable<Body> {
        let sections: Vec<Data> = self.events.iter().map(|event| Data(Binary::from(event.clone()))).collect();
        let annotations = self.partition_key.clone().map(|key| {
            let mut annotations = MessageAnnotations::default();
            annotations.insert(OwnedKey::from(PARTITION_KEY), Value::String(key));
            annotations
        });
        let message = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: annotations,
            properties: None,
            application_properties: None,
            body: Sections::new(sections),
            footer: None,
        };
        Sendable { message, message_format: BATCH_FORMAT, settled: None }
    }
}

/// Packs events into batches of at most `limit` bytes, in order; a batch has one partition key, or none.
///
/// # Errors
/// When an event cannot be sent.
pub(super) fn pack(
    events: impl Iterator<Item = EventData>,
    limit: u64,
    to_one_partition: bool,
) -> Result<Vec<Batch>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut batches: Vec<Batch> = Vec::new();
    for (index, event) in events.enumerate() {
        if to_one_partition && event.partition_key.is_some() {
            return Err(Error::invalid(format!(
                "event {index}: has a partition key, and goes to one partition"
            )));
        }
        let encoded = encode(&event).map_err(|why| Error::invalid(format!("event {index}: {why}")))?;
        let has_room =
            |batch: &&mut Batch| batch.partition_key == event.partition_key && batch.takes(&encoded, limit);
        if let Some(batch) = batches.last_mut().filter(has_room) {
            batch.push(encoded);
            continue;
        }
        let mut batch = Batch::new(event.partition_key);
        if !batch.takes(&encoded, limit) {
            let size = encoded.len();
            return Err(Error::invalid(format!("event {index}: has {size} bytes; the limit is {limit}")));
        }
        batch.push(encoded);
        batches.push(batch);
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(events: Vec<EventData>, limit: u64) -> Vec<usize> {
        pack(events.into_iter(), limit, false).unwrap().iter().map(|batch| batch.events.len()).collect()
    }

    #[test]
    fn a_batch_is_as_large_as_it_may_be() {
        let events = || vec![EventData::new(vec![0; 92]); 7];
        let one = SECTION + encode(&events()[0]).unwrap().len();
        let three = u64::try_from(ENVELOPE + 3 * one).unwrap();
        assert_eq!(counts(events(), three), [3, 3, 1]);
        assert_eq!(counts(events(), three - 1), [2, 2, 2, 1]);
        assert_eq!(counts(events(), 1 << 20), [7]);
        assert_eq!(counts(vec![], 1 << 20), [] as [usize; 0]);
    }

    #[test]
    fn no_batch_is_larger_than_it_thinks() {
        let events = (0..50).map(|n| EventData::new(vec![0; 10 * n]).partition_key("k".repeat(200)));
        for batch in pack(events, 2000, false).unwrap() {
            let message = batch.sendable().message;
            let sent =
                serde_amqp::to_vec(&fe2o3_amqp_types::messaging::message::__private::Serializable(message));
            let sent = sent.unwrap().len();
            assert!(sent <= batch.size && batch.size <= 2000, "{sent} {}", batch.size);
        }
    }

    #[test]
    fn events_of_different_keys_do_not_mix() {
        let keyed = |key: &str| EventData::new("e").partition_key(key);
        let events = vec![keyed("a"), keyed("a"), keyed("b"), EventData::new("e"), keyed("a")];
        assert_eq!(counts(events, 1 << 20), [2, 1, 1, 1]);
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let events = || vec![EventData::new("small"), EventData::new(vec![0; 1000])];
        let too_large = pack(events().into_iter(), 1000, false).unwrap_err();
        assert!(too_large.to_string().contains("event 1: has 1008 bytes; the limit is 1000"), "{too_large}");
        let keyed = EventData::new("e").partition_key("k");
        let two_ways = pack([keyed].into_iter(), 1000, true).unwrap_err();
        assert!(two_ways.to_string().contains("event 0: has a partition key"), "{two_ways}");
    }
}
