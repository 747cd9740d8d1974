//! Rows as records, and what both kinds of record have in common.

use eventhubs_checkpoint_store::{Checkpoint, DeleteOutcome, Error, ErrorKind, Expected, Result, Version};
use eventhubs_types::{ConsumerScope, Offset, PartitionId, SequenceNumber};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::call::Failure;
use crate::store::PostgresCheckpointStore;

/// The most scopes that are listed.
const MAX_SCOPES: i64 = 10_000;

/// The longest mark or offset that is kept, in bytes.
const MAX_TEXT: usize = 4096;

/// A scope as it is kept.
pub(crate) struct ScopeKey(ConsumerScope);

impl ScopeKey {
    pub(crate) fn new(scope: &ConsumerScope) -> Self {
        Self(scope.to_lowercase())
    }

    /// The first three parameters of most statements.
    pub(crate) fn texts(&self) -> [&str; 3] {
        let ConsumerScope { namespace, event_hub, consumer_group, .. } = &self.0;
        [namespace.as_str(), event_hub.as_str(), consumer_group.as_str()]
    }
}

/// A text as a parameter.
pub(crate) fn text<'a>(text: &'a &'a str) -> (&'a (dyn ToSql + Sync), Type) {
    (text, Type::TEXT)
}

/// The version as this store gave it; `None` for one that it never gave, which no record has.
pub(crate) fn number(version: &Version) -> Option<i64> {
    version.as_str().parse().ok()
}

/// What is to be there for a write.
pub(crate) enum Wanted {
    Absent,
    Number(i64),
    /// A version that no record has.
    Impossible,
}

impl From<&Expected> for Wanted {
    fn from(expected: &Expected) -> Self {
        match expected {
            Expected::Absent => Self::Absent,
            Expected::Version(version) => number(version).map_or(Self::Impossible, Self::Number),
        }
    }
}

pub(crate) fn version(number: i64) -> Version {
    Version::new(number.to_string())
}

/// Checks what PostgreSQL refuses, or what would let a table grow without bound. One such text must not fail the
/// whole statement that it would be a part of.
pub(crate) fn check(field: &str, text: Option<&str>) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    let reason = if text.contains('\0') {
        "contains a NUL"
    } else if text.len() > MAX_TEXT {
        "is longer than 4096 bytes"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidArgument, format!("{field} {reason}")))
}

/// A checkpoint out of its first four columns; `None` with a warning where the partition has no usable name.
pub(crate) fn checkpoint(row: &Row) -> std::result::Result<Option<Checkpoint>, tokio_postgres::Error> {
    let (name, offset): (&str, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
    let (sequence_number, number): (Option<i64>, i64) = (row.try_get(2)?, row.try_get(3)?);
    let Ok(partition) = PartitionId::new(name) else {
        tracing::warn!(name = ?name.chars().take(256).collect::<String>(), "a checkpoint has no usable partition id");
        return Ok(None);
    };
    let checkpoint =
        Checkpoint::new(partition, offset.map(Offset::new), sequence_number.map(SequenceNumber::new));
    Ok(Some(checkpoint.with_version(version(number))))
}

fn scope(row: &Row) -> std::result::Result<Option<ConsumerScope>, tokio_postgres::Error> {
    let names: [&str; 3] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
    let parsed = (names[0].parse(), names[1].parse(), names[2].parse());
    let (Ok(namespace), Ok(event_hub), Ok(consumer_group)) = parsed else { return Ok(None) };
    Ok(Some(ConsumerScope::new(namespace, event_hub, consumer_group)))
}

impl PostgresCheckpointStore {
    /// Deletes what still has this version, by a statement that returns a row if it did.
    pub(crate) async fn delete(
        &self,
        sql: &str,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
        what: &'static str,
    ) -> Result<DeleteOutcome> {
        let Some(number) = number(version) else { return Ok(DeleteOutcome::Conflict) };
        let key = ScopeKey::new(scope);
        let [namespace, hub, group] = &key.texts();
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            text(namespace),
            text(hub),
            text(group),
            (&partition.as_str(), Type::TEXT),
            (&number, Type::INT8),
        ];
        let rows = self.call().await?.run(sql, &parameters).await;
        let rows = rows.map_err(|failure| failure.during(what))?;
        Ok(if rows.is_empty() { DeleteOutcome::Conflict } else { DeleteOutcome::Deleted })
    }

    pub(crate) async fn scopes(&self) -> Result<Vec<ConsumerScope>> {
        const WHAT: &str = "list the scopes";
        let limit = MAX_SCOPES + 1;
        let call = self.call().await?;
        let rows = call.run(&self.inner().statements.list_scopes, &[(&limit, Type::INT8)]).await;
        let rows = rows.map_err(|failure| failure.during(WHAT))?;
        if i64::try_from(rows.len()).is_ok_and(|count| count >= limit) {
            return Err(Error::new(ErrorKind::Protocol, format!("{WHAT}: there are more than {MAX_SCOPES}")));
        }
        let scopes: std::result::Result<Vec<_>, _> = rows.iter().map(scope).collect();
        let scopes = scopes.map_err(|error| Failure::from(error).during(WHAT))?;
        Ok(scopes.into_iter().flatten().collect())
    }
}
