//! A letter as a row of the table.

use std::time::{SystemTime, UNIX_EPOCH};

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use eventhubs_dead_letters::DeadLetter;
use eventhubs_types::{ConsumerScope, EventData};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::call::Failure;
use crate::records::ScopeKey;
use crate::schema::Schema;

const PUT: &str = r#"
INSERT INTO {schema}.dead_letter AS l
  (namespace, event_hub, consumer_group, partition_id, sequence_number, enqueued, "offset", owner_id,
   reason, description, attempts, first_failed, event, message, modified)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::json, $14, clock_timestamp())
ON CONFLICT (namespace, event_hub, consumer_group, partition_id, sequence_number, enqueued) DO UPDATE
SET owner_id = excluded.owner_id, reason = excluded.reason, description = excluded.description,
  attempts = excluded.attempts, first_failed = least(l.first_failed, excluded.first_failed),
  modified = excluded.modified"#;

const LIST: &str = r#"
SELECT partition_id, sequence_number, enqueued, "offset", owner_id, reason, description, attempts, first_failed,
  event::text, message
FROM {schema}.dead_letter
WHERE namespace = $1 AND event_hub = $2 AND consumer_group = $3
  AND ($4::text IS NULL OR (partition_id, sequence_number, enqueued) > ($4 COLLATE "C", $5, $6))
ORDER BY partition_id, sequence_number, enqueued LIMIT $7"#;

/// The SQL of the table, with the name of the schema in it.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) put: String,
    pub(super) list: String,
}

impl Statements {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { put: schema.sql(PUT), list: schema.sql(LIST) }
    }
}

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The values of a row, in the order of the parameters.
pub(super) struct Values<'a> {
    scope: [String; 3],
    partition: &'a str,
    sequence_number: i64,
    enqueued: SystemTime,
    offset: String,
    owner: &'a str,
    reason: &'a str,
    description: &'a str,
    attempts: i64,
    first_failed: SystemTime,
    event: String,
    message: Option<&'a [u8]>,
}

impl<'a> Values<'a> {
    pub(super) fn of(letter: &'a DeadLetter) -> eventhubs_dead_letters::Result<Self> {
        Ok(Self {
            scope: ScopeKey::new(letter.scope()).texts().map(str::to_owned),
            partition: letter.partition().as_str(),
            sequence_number: letter.sequence_number().value(),
            enqueued: enqueued(letter),
            offset: letter.offset().as_str().replace('\0', "\u{fffd}"),
            owner: letter.owner().as_str(),
            reason: letter.reason(),
            description: letter.description(),
            attempts: letter.attempts().into(),
            first_failed: letter.first_failed(),
            event: letter.event_as_json()?,
            message: letter.message().map(|bytes| &bytes[..]),
        })
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 14] {
        let [namespace, hub, group] = &self.scope;
        [
            (namespace, Type::TEXT),
            (hub, Type::TEXT),
            (group, Type::TEXT),
            (&self.partition, Type::TEXT),
            (&self.sequence_number, Type::INT8),
            (&self.enqueued, Type::TIMESTAMPTZ),
            (&self.offset, Type::TEXT),
            (&self.owner, Type::TEXT),
            (&self.reason, Type::TEXT),
            (&self.description, Type::TEXT),
            (&self.attempts, Type::INT8),
            (&self.first_failed, Type::TIMESTAMPTZ),
            (&self.event, Type::TEXT),
            (&self.message, Type::BYTEA),
        ]
    }
}

/// What is listed: a page of the letters of a scope.
pub(super) struct Query<'a> {
    scope: [String; 3],
    after: Option<&'a str>,
    sequence_number: Option<i64>,
    enqueued: Option<SystemTime>,
    limit: i64,
}

impl<'a> Query<'a> {
    pub(super) fn new(scope: &ConsumerScope, after: Option<&'a DeadLetter>, limit: usize) -> Self {
        Self {
            scope: ScopeKey::new(scope).texts().map(str::to_owned),
            after: after.map(|letter| letter.partition().as_str()),
            sequence_number: after.map(|letter| letter.sequence_number().value()),
            enqueued: after.map(enqueued),
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 7] {
        let [namespace, hub, group] = &self.scope;
        [
            (namespace, Type::TEXT),
            (hub, Type::TEXT),
            (group, Type::TEXT),
            (&self.after, Type::TEXT),
            (&self.sequence_number, Type::INT8),
            (&self.enqueued, Type::TIMESTAMPTZ),
            (&self.limit, Type::INT8),
        ]
    }
}

fn enqueued(letter: &DeadLetter) -> SystemTime {
    letter.enqueued_time().unwrap_or(UNIX_EPOCH)
}

/// # Errors
/// When somebody else has written what is in the row.
pub(super) fn read(row: &Row, scope: &ConsumerScope) -> Result<DeadLetter> {
    let columns = columns(row).map_err(|error| Failure::from(error).during(WHAT))?;
    let partition = columns.partition.try_into().map_err(unreadable)?;
    let owner = columns.owner.try_into().map_err(unreadable)?;
    let number = columns.sequence_number;
    DeadLetter::new(scope.clone(), partition, number, columns.offset, EventData::default(), owner)
        .with_enqueued_time(Some(columns.enqueued).filter(|time| *time != UNIX_EPOCH))
        .because(columns.reason, columns.description)
        .after(u32::try_from(columns.attempts).unwrap_or(u32::MAX), columns.first_failed)
        .with_message(columns.message.map(Into::into))
        .with_event_json(columns.event)
        .map_err(unreadable)
}

const WHAT: &str = "read a dead letter";

struct Columns<'a> {
    partition: &'a str,
    sequence_number: i64,
    enqueued: SystemTime,
    offset: &'a str,
    owner: &'a str,
    reason: &'a str,
    description: &'a str,
    attempts: i64,
    first_failed: SystemTime,
    event: &'a str,
    message: Option<Vec<u8>>,
}

fn columns(row: &Row) -> std::result::Result<Columns<'_>, tokio_postgres::Error> {
    Ok(Columns {
        partition: row.try_get(0)?,
        sequence_number: row.try_get(1)?,
        enqueued: row.try_get(2)?,
        offset: row.try_get(3)?,
        owner: row.try_get(4)?,
        reason: row.try_get(5)?,
        description: row.try_get(6)?,
        attempts: row.try_get(7)?,
        first_failed: row.try_get(8)?,
        event: row.try_get(9)?,
        message: row.try_get(10)?,
    })
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Protocol, WHAT).with_source(error)
}
