//! What is read of every event at once: its position in its partition.
//!
//! Tests: `tap/tests.rs`, against the AMQP library, with damaged messages among them.

use std::time::SystemTime;

use bytes::Bytes;
use eventhubs_amqp_frames::format::{LONG, SYMBOL8, SYMBOL32, TIMESTAMP};
use eventhubs_amqp_frames::{MapHead, Refused, element_length, value_length};
use eventhubs_types::Offset;

use crate::event::attributes;
use crate::event::reader::Reader;

/// The position of an event, as far as its annotations say.
#[derive(Debug, Default)]
pub(crate) struct Position {
    pub(crate) sequence_number: Option<i64>,
    pub(crate) offset: Option<Offset>,
    pub(crate) enqueued_time: Option<SystemTime>,
}

impl Position {
    /// Reads the map of message annotations at `start`, in place of what was read before, and returns where
    /// it ends. Of a name that occurs twice, the last one counts.
    ///
    /// Unless all must be `SOUND`, the names are looked for as far as declared sizes lead.
    pub(crate) fn read<const SOUND: bool>(&mut self, raw: &Bytes, start: usize) -> Result<usize, Refused> {
        *self = Self::default();
        let map = MapHead::read::<SOUND>(&raw[start..])?;
        let (mut at, end) = (start + map.header, start + map.length);
        for _ in 0..map.count / 2 {
            match self.entry::<SOUND>(raw, at, end) {
                Ok(next) => at = next,
                Err(refused) if SOUND => return Err(refused),
                Err(_) => return Ok(end),
            }
        }
        if SOUND && at != end {
            return Err(Refused::BadSize);
        }
        Ok(end)
    }

    fn entry<const SOUND: bool>(&mut self, raw: &Bytes, key: usize, end: usize) -> Result<usize, Refused> {
        let value = key + element_length::<SOUND>(&raw[key..end])?;
        let next = value + element_length::<SOUND>(&raw[value..end])?;
        let ([SYMBOL8, _, name @ ..] | [SYMBOL32, _, _, _, _, name @ ..]) = &raw[key..value] else {
            return Ok(next);
        };
        // Declared sizes may have led here: what is read must be proven sound first.
        let is_sound = || SOUND || value_length::<true>(&raw[value..]).is_ok();
        let reader = Reader::at(raw, value);
        match name {
            b"x-opt-sequence-number" if is_sound() => self.sequence_number = number(reader),
            b"x-opt-offset" if is_sound() => self.offset = offset(reader),
            b"x-opt-enqueued-time" if is_sound() => self.enqueued_time = time(reader),
            _ => {}
        }
        Ok(next)
    }
}

// Each has one form that the service writes, and others that are read all the same.

fn number(mut reader: Reader<'_>) -> Option<i64> {
    reader.long(LONG).or_else(|| reader.value()?.as_i64())
}

fn offset(mut reader: Reader<'_>) -> Option<Offset> {
    match reader.str() {
        Some(text) => Some(text.into()),
        None => reader.value().and_then(attributes::offset),
    }
}

fn time(mut reader: Reader<'_>) -> Option<SystemTime> {
    match reader.long(TIMESTAMP) {
        Some(millis) => attributes::time_of(millis),
        None => attributes::time(&reader.value()?),
    }
}
