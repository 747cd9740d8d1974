//! A letter as a row of the table.

use std::time::{SystemTime, UNIX_EPOCH};

use eventhubs_dead_letters::DeadLetter;
use eventhubs_types::{ConsumerScope, EventData};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, Row, params};

use crate::{clock, records};

const PUT: &str = "INSERT INTO eventhubs_dead_letter
    (namespace, event_hub, consumer_group, partition_id, sequence_number, enqueued, \"offset\", owner_id,
     reason, description, attempts, first_failed, event, message, modified)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT (namespace, event_hub, consumer_group, partition_id, sequence_number, enqueued) DO UPDATE SET
      owner_id = excluded.owner_id, reason = excluded.reason, description = excluded.description,
      attempts = excluded.attempts, first_failed = min(first_failed, excluded.first_failed),
      modified = excluded.modified";

const LIST: &str = "SELECT partition_id, sequence_number, enqueued, \"offset\", owner_id,
      reason, description, attempts, first_failed, event, message FROM eventhubs_dead_letter
    WHERE namespace = ?1 AND event_hub = ?2 AND consumer_group = ?3
      AND (?4 IS NULL OR (partition_id, sequence_number, enqueued) > (?4, ?5, ?6))
    ORDER BY partition_id, sequence_number, enqueued LIMIT ?7";

/// Where a letter is in the order of its scope.
#[derive(Debug)]
pub(super) struct Key {
    partition: String,
    sequence_number: i64,
    enqueued: i64,
}

impl Key {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        Self {
            partition: letter.partition().to_string(),
            sequence_number: letter.sequence_number().value(),
            enqueued: letter.enqueued_time().map_or(0, milliseconds),
        }
    }
}

/// Letters have no times before 1970 and none after the year 9999.
fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn put(connection: &Connection, letter: &DeadLetter) -> rusqlite::Result<()> {
    let scope = letter.scope().to_lowercase();
    let [namespace, hub, group] = records::names(&scope);
    let key = Key::of(letter);
    let event =
        letter.event_as_json().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let values = params![
        namespace,
        hub,
        group,
        key.partition,
        key.sequence_number,
        key.enqueued,
        letter.offset().as_str(),
        letter.owner().as_str(),
        letter.reason(),
        letter.description(),
        letter.attempts(),
        milliseconds(letter.first_failed()),
        event,
        letter.message().map(|bytes| &bytes[..]),
        clock::now(connection)?,
    ];
    connection.prepare_cached(PUT)?.execute(values).map(drop)
}

pub(super) fn list(
    connection: &Connection,
    scope: &ConsumerScope,
    after: Option<&Key>,
    limit: usize,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let [namespace, hub, group] = records::names(scope);
    let partition = after.map(|key| &key.partition);
    let (number, enqueued) = after.map(|key| (key.sequence_number, key.enqueued)).unzip();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![namespace, hub, group, partition, number, enqueued, limit];
    let mut statement = connection.prepare_cached(LIST)?;
    let letters = statement.query_map(values, |row| read(row, scope))?;
    letters.collect()
}

fn read(row: &Row<'_>, scope: &ConsumerScope) -> rusqlite::Result<DeadLetter> {
    let partition = checked(0, row.get::<_, String>(0)?.try_into())?;
    let owner = checked(4, row.get::<_, String>(4)?.try_into())?;
    let (offset, message): (String, Option<Vec<u8>>) = (row.get(3)?, row.get(10)?);
    let (reason, description): (String, String) = (row.get(5)?, row.get(6)?);
    let enqueued = Some(row.get(2)?).filter(|enqueued| *enqueued != 0).map(clock::time);
    let event = EventData::default();
    let letter = DeadLetter::new(scope.clone(), partition, row.get::<_, i64>(1)?, offset, event, owner)
        .with_enqueued_time(enqueued)
        .because(&reason, &description)
        .after(row.get(7)?, clock::time(row.get(8)?))
        .with_message(message.map(Into::into));
    checked(9, letter.with_event_json(&row.get::<_, String>(9)?))
}

fn checked<T>(
    column: usize,
    value: Result<T, impl std::error::Error + Send + Sync + 'static>,
) -> rusqlite::Result<T> {
    value.map_err(|error| {
        let error = Box::new(FromSqlError::Other(Box::new(error)));
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
    })
}
