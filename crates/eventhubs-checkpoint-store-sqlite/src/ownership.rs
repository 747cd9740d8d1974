//! Ownership records: listing them, and claims in one transaction.

use eventhubs_checkpoint_store::{
    Claim, ClaimOutcome, DeleteOutcome, Mark, Ownership, OwnershipList, RejectedRecord, Version,
};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use rusqlite::{Connection, Row, TransactionBehavior, params};

use crate::records::{self, IN_SCOPE, IS_RECORD, MAX_LISTED, Wanted};
use crate::{clock, hints};

pub(crate) fn list(connection: &Connection, scope: &ConsumerScope) -> rusqlite::Result<OwnershipList> {
    // Before the records, for one that is renewed meanwhile must not look older than it is.
    let mut list = OwnershipList::new(Vec::new(), Some(clock::time(clock::now(connection)?)), Vec::new());
    let sql = format!(
        "SELECT partition_id, owner_id, mark, version, modified FROM eventhubs_ownership WHERE {IN_SCOPE}
         LIMIT {MAX_LISTED} + 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(records::names(scope))?;
    while let Some(row) = rows.next()? {
        if list.records.len() + list.rejected.len() >= MAX_LISTED {
            let reason = "there are too many records; the rest was not read";
            list.rejected.push(RejectedRecord::new(scope.to_string(), reason));
            break;
        }
        match records::partition(row, 0)? {
            Ok(partition) => list.records.push(read(row, partition)?),
            Err((name, reason)) => list.rejected.push(RejectedRecord::new(name, reason)),
        }
    }
    Ok(list)
}

/// One whose owner makes no sense counts as released, so that a claim heals it.
fn read(row: &Row<'_>, partition: PartitionId) -> rusqlite::Result<Ownership> {
    let owner = records::text(row, 1)?.and_then(|owner| OwnerId::new(owner).ok());
    let mark = records::text(row, 2)?.map(Mark::new);
    let (version, modified) = (records::version(row.get(3)?), clock::time(row.get(4)?));
    Ok(Ownership::new(partition, owner, version, Some(modified)).with_mark(mark))
}

/// Tries the claims one after the other in one transaction. Returns the outcome of each.
pub(crate) fn claim(
    connection: &mut Connection,
    scope: &ConsumerScope,
    claims: &[Claim],
) -> rusqlite::Result<Vec<ClaimOutcome>> {
    // A deferred transaction that comes to write fails at once where another writes, whatever the time limit.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (now, first) = (clock::now(&transaction)?, records::new_versions(&transaction, claims.len())?);
    let tries = claims.iter().zip(first..);
    let tries = tries.map(|(claim, version)| try_one(&transaction, scope, claim, version, now));
    let outcomes = tries.collect::<rusqlite::Result<Vec<_>>>()?;
    // Dropped otherwise, which rolls back: races that are lost cost no write.
    if outcomes.iter().any(|outcome| matches!(outcome, ClaimOutcome::Won(_))) {
        if claims.iter().any(|claim| claim.announces_to.is_some()) {
            hints::prune(&transaction)?;
        }
        transaction.commit()?;
    }
    Ok(outcomes)
}

fn try_one(
    connection: &Connection,
    scope: &ConsumerScope,
    claim: &Claim,
    version: i64,
    now: i64,
) -> rusqlite::Result<ClaimOutcome> {
    if let Some(mark) = &claim.mark
        && let Err(error) = records::check_length("mark", mark.as_str())
    {
        return Ok(ClaimOutcome::Failed(error));
    }
    if write(connection, scope, claim, version, now)? == 0 {
        return Ok(ClaimOutcome::Lost);
    }
    hints::announce(connection, scope, claim, version, now)?;
    let (partition, owner) = (claim.partition.clone(), claim.owner.clone());
    let record = Ownership::new(partition, owner, records::version(version), Some(clock::time(now)));
    Ok(ClaimOutcome::Won(record.with_mark(claim.mark.clone())))
}

/// A claim of an absent record. It takes the parameters of the one by version too, which is why ?9 is in it;
/// and an upsert of a SELECT needs a WHERE, or its ON would be read as that of a join.
const CLAIM_ABSENT: &str = "INSERT INTO eventhubs_ownership
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?9 IS NULL ON CONFLICT DO NOTHING";

const CLAIM_VERSION: &str = "UPDATE eventhubs_ownership
    SET owner_id = ?5, mark = ?6, version = ?7, modified = ?8
    WHERE namespace = ?1 AND event_hub = ?2 AND consumer_group = ?3 AND partition_id = ?4 AND version = ?9";

/// Returns 0 if the record is not as expected, else 1.
fn write(
    connection: &Connection,
    scope: &ConsumerScope,
    claim: &Claim,
    version: i64,
    now: i64,
) -> rusqlite::Result<usize> {
    let (sql, expected) = match Wanted::from(&claim.expected) {
        Wanted::Absent => (CLAIM_ABSENT, None),
        Wanted::Version(expected) => (CLAIM_VERSION, Some(expected)),
        Wanted::Never => return Ok(0),
    };
    let [namespace, hub, group] = records::names(scope);
    let (partition, owner) = (claim.partition.as_str(), claim.owner.as_ref().map(OwnerId::as_str));
    let mark = claim.mark.as_ref().map(Mark::as_str);
    let values = params![namespace, hub, group, partition, owner, mark, version, now, expected];
    connection.prepare_cached(sql)?.execute(values)
}

pub(crate) fn delete(
    connection: &Connection,
    scope: &ConsumerScope,
    partition: &PartitionId,
    version: &Version,
) -> rusqlite::Result<DeleteOutcome> {
    let Some(version) = records::number(version) else { return Ok(DeleteOutcome::Conflict) };
    let [namespace, hub, group] = records::names(scope);
    let sql = format!("DELETE FROM eventhubs_ownership WHERE {IS_RECORD} AND version = ?5");
    let count = connection.execute(&sql, params![namespace, hub, group, partition.as_str(), version])?;
    Ok(if count > 0 { DeleteOutcome::Deleted } else { DeleteOutcome::Conflict })
}

/// Lists the scopes that have an ownership record or a checkpoint; one with names that cannot be is left out.
pub(crate) fn scopes(connection: &Connection) -> rusqlite::Result<Vec<ConsumerScope>> {
    let sql = format!(
        "SELECT namespace, event_hub, consumer_group FROM eventhubs_ownership
         UNION SELECT namespace, event_hub, consumer_group FROM eventhubs_checkpoint
           WHERE \"offset\" IS NOT NULL OR sequence_number IS NOT NULL
         LIMIT {MAX_LISTED}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let scopes = statement.query_map([], |row| {
        let name = |column| records::text(row, column).map(Option::unwrap_or_default);
        let (namespace, hub, group) = (name(0)?.try_into(), name(1)?.try_into(), name(2)?.try_into());
        let scope = || Some(ConsumerScope::new(namespace.ok()?, hub.ok()?, group.ok()?));
        Ok(scope())
    })?;
    scopes.filter_map(rusqlite::Result::transpose).collect()
}
