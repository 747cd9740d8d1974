//! A letter as one line of JSON (docs/dead-letters.md).

use bytes::Bytes;
use eventhubs_types::{ConsumerScope, EventData, InvalidName};
use serde::{Deserialize, Serialize};

use crate::json::{JsonEvent, base64_text, without_content};
use crate::letter::{milliseconds, time_of};
use crate::{DeadLetter, Error, ErrorKind, Result};

/// The version of the format, which each line says.
const VERSION: u32 = 1;

/// What every line begins with, of whatever version.
pub(crate) const START: &[u8] = b"{\"version\":";

/// The longest line, in bytes: a message has at most 20 MiB, and JSON makes a character at most six times as
/// long.
pub(crate) const MAX_LINE: usize = 256 * 1024 * 1024;

/// First the version, by which a file of dead letters is known.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    version: u32,
    namespace: String,
    event_hub: String,
    consumer_group: String,
    partition_id: String,
    sequence_number: i64,
    offset: String,
    enqueued_time: Option<u64>,
    owner_id: String,
    reason: String,
    description: String,
    attempts: u32,
    first_failed: u64,
    event: JsonEvent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Message(#[serde(with = "base64_text")] Bytes);

/// The version of a line whose other fields may be of another format.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Returns the line, with its end.
pub(crate) fn encode(letter: &DeadLetter) -> Result<Vec<u8>> {
    let scope = letter.scope();
    let line = Line {
        version: VERSION,
        namespace: scope.namespace.to_string(),
        event_hub: scope.event_hub.to_string(),
        consumer_group: scope.consumer_group.to_string(),
        partition_id: letter.partition().to_string(),
        sequence_number: letter.sequence_number().value(),
        offset: letter.offset().to_string(),
        enqueued_time: letter.enqueued_time().map(milliseconds),
        owner_id: letter.owner().to_string(),
        reason: letter.reason().to_owned(),
        description: letter.description().to_owned(),
        attempts: letter.attempts(),
        first_failed: milliseconds(letter.first_failed()),
        event: letter.into(),
        message: letter.message().cloned().map(Message),
    };
    let mut bytes = serde_json::to_vec(&line)
        .map_err(|source| Error::new(ErrorKind::InvalidArgument, "the letter").with_source(source))?;
    bytes.push(b'\n');
    if bytes.len() > MAX_LINE {
        let text = format!("the letter is a line of {} bytes; the limit is {MAX_LINE}", bytes.len());
        return Err(Error::new(ErrorKind::InvalidArgument, text));
    }
    Ok(bytes)
}

/// Reads a line; its end may be there or not. The error says why, in a few words without any content.
pub(crate) fn decode(line: &[u8]) -> std::result::Result<DeadLetter, String> {
    let version = serde_json::from_slice::<Versioned>(line).map_err(|error| without_content(&error))?.version;
    if version != VERSION {
        return Err(format!("it has version {version}, and this program knows version {VERSION}"));
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| without_content(&error))?;
    letter(line).map_err(|name| name.to_string())
}

fn letter(line: Line) -> std::result::Result<DeadLetter, InvalidName> {
    let scope = ConsumerScope::new(
        line.namespace.try_into()?,
        line.event_hub.try_into()?,
        line.consumer_group.try_into()?,
    );
    let (partition, owner) = (line.partition_id.try_into()?, line.owner_id.try_into()?);
    let event = EventData::default();
    let letter = DeadLetter::new(scope, partition, line.sequence_number, line.offset, event, owner)
        .with_enqueued_time(line.enqueued_time.map(time_of))
        .because(&line.reason, &line.description)
        .after(line.attempts, time_of(line.first_failed))
        .with_message(line.message.map(|Message(bytes)| bytes));
    Ok(line.event.put_into(letter))
}
