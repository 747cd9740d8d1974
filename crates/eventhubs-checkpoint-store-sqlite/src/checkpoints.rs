//! Checkpoints: reading and writing them, and the fence between one owner and the next.

use eventhubs_checkpoint_store::{Checkpoint, CheckpointOutcome, DeleteOutcome, FenceToken, Fenced, Version};
use eventhubs_types::{ConsumerScope, Offset, PartitionId, SequenceNumber};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use crate::clock;
use crate::records::{self, IN_SCOPE, IS_RECORD, MAX_LISTED, Wanted};

/// A row without both is there for its epoch: a partition that is fenced before its first checkpoint, or
/// whose checkpoint was deleted.
const HAS_POSITION: &str = "(\"offset\" IS NOT NULL OR sequence_number IS NOT NULL)";

pub(crate) fn list(connection: &Connection, scope: &ConsumerScope) -> rusqlite::Result<Vec<Checkpoint>> {
    let sql = format!(
        "SELECT \"offset\", sequence_number, version, partition_id FROM eventhubs_checkpoint
         WHERE {IN_SCOPE} AND {HAS_POSITION} LIMIT {MAX_LISTED} + 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(records::names(scope))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if found.len() >= MAX_LISTED {
            tracing::warn!(%scope, "there are too many checkpoints; the rest was not read");
            break;
        }
        match records::partition(row, 3)? {
            Ok(partition) => found.push(read(row, partition)?),
            Err((name, reason)) => tracing::warn!(?name, reason, "a checkpoint was rejected"),
        }
    }
    Ok(found)
}

pub(crate) fn one(
    connection: &Connection,
    scope: &ConsumerScope,
    partition: &PartitionId,
) -> rusqlite::Result<Option<Checkpoint>> {
    let [namespace, hub, group] = records::names(scope);
    let sql = format!(
        "SELECT \"offset\", sequence_number, version FROM eventhubs_checkpoint
         WHERE {IS_RECORD} AND {HAS_POSITION}"
    );
    let values = params![namespace, hub, group, partition.as_str()];
    connection.prepare_cached(&sql)?.query_row(values, |row| read(row, partition.clone())).optional()
}

/// Reads offset, sequence number and version, in this order.
fn read(row: &Row<'_>, partition: PartitionId) -> rusqlite::Result<Checkpoint> {
    let offset = records::text(row, 0)?.map(Offset::new);
    let number = row.get::<_, Option<i64>>(1)?.map(SequenceNumber::new);
    Ok(Checkpoint::new(partition, offset, number).with_version(records::version(row.get(2)?)))
}

/// Writes a checkpoint if the record is as expected. The epoch stays as it is.
pub(crate) fn update(
    connection: &mut Connection,
    scope: &ConsumerScope,
    checkpoint: &Checkpoint,
    expected: Wanted,
) -> rusqlite::Result<CheckpointOutcome> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = records::new_versions(&transaction, 1)?;
    let count = write(&transaction, scope, checkpoint, expected, version)?;
    if count == 0 {
        // Rolls back, so that a conflict costs no write.
        return Ok(CheckpointOutcome::Conflict);
    }
    transaction.commit()?;
    Ok(CheckpointOutcome::Written(records::version(version)))
}

/// The first checkpoint of a partition. As in a claim, it takes the parameters of the other one too.
const WRITE_ABSENT: &str = "INSERT INTO eventhubs_checkpoint AS c
    (namespace, event_hub, consumer_group, partition_id, \"offset\", sequence_number, version, modified)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?9 IS NULL
    ON CONFLICT DO UPDATE SET \"offset\" = ?5, sequence_number = ?6, version = ?7, modified = ?8
    WHERE c.\"offset\" IS NULL AND c.sequence_number IS NULL";

const WRITE_VERSION: &str = "UPDATE eventhubs_checkpoint
    SET \"offset\" = ?5, sequence_number = ?6, version = ?7, modified = ?8
    WHERE namespace = ?1 AND event_hub = ?2 AND consumer_group = ?3 AND partition_id = ?4 AND version = ?9
      AND (\"offset\" IS NOT NULL OR sequence_number IS NOT NULL)";

fn write(
    connection: &Connection,
    scope: &ConsumerScope,
    checkpoint: &Checkpoint,
    expected: Wanted,
    version: i64,
) -> rusqlite::Result<usize> {
    let (sql, expected) = match expected {
        Wanted::Absent => (WRITE_ABSENT, None),
        Wanted::Version(expected) => (WRITE_VERSION, Some(expected)),
        Wanted::Never => return Ok(0),
    };
    let [namespace, hub, group] = records::names(scope);
    let (partition, now) = (checkpoint.partition.as_str(), clock::now(connection)?);
    let offset = checkpoint.offset.as_ref().map(Offset::as_str);
    let number = checkpoint.sequence_number.map(SequenceNumber::value);
    let values = params![namespace, hub, group, partition, offset, number, version, now, expected];
    connection.prepare_cached(sql)?.execute(values)
}

/// Begins an ownership. The write lock that this takes is the wait for transactions of earlier owners: one
/// that is open has it, and one that has only read fails when it comes to write.
pub(crate) fn fence(
    connection: &mut Connection,
    scope: &ConsumerScope,
    partition: &PartitionId,
) -> rusqlite::Result<Fenced> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // The epoch is a version, and so never repeats, not even where somebody deletes the row by hand.
    let epoch = records::new_versions(&transaction, 1)?;
    let sql = format!(
        "INSERT INTO eventhubs_checkpoint
           (namespace, event_hub, consumer_group, partition_id, epoch, version, modified)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, {})
         ON CONFLICT DO UPDATE SET epoch = ?5, version = ?5",
        clock::NOW
    );
    let [namespace, hub, group] = records::names(scope);
    transaction.prepare_cached(&sql)?.execute(params![namespace, hub, group, partition.as_str(), epoch])?;
    // Under the same lock, so that no checkpoint of an earlier owner can come between the two.
    let checkpoint = one(&transaction, scope, partition)?;
    transaction.commit()?;
    Ok(Fenced::new(checkpoint, Some(FenceToken::new(epoch))))
}

/// Deletes the position and keeps the epoch, for a transaction of the owner must still find it.
pub(crate) fn delete(
    connection: &mut Connection,
    scope: &ConsumerScope,
    partition: &PartitionId,
    version: &Version,
) -> rusqlite::Result<DeleteOutcome> {
    let Some(expected) = records::number(version) else { return Ok(DeleteOutcome::Conflict) };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = records::new_versions(&transaction, 1)?;
    let [namespace, hub, group] = records::names(scope);
    let sql = format!(
        "UPDATE eventhubs_checkpoint
         SET \"offset\" = NULL, sequence_number = NULL, version = ?6, modified = {}
         WHERE {IS_RECORD} AND version = ?5 AND {HAS_POSITION}",
        clock::NOW
    );
    let values = params![namespace, hub, group, partition.as_str(), expected, version];
    if transaction.execute(&sql, values)? == 0 {
        return Ok(DeleteOutcome::Conflict);
    }
    transaction.commit()?;
    Ok(DeleteOutcome::Deleted)
}
