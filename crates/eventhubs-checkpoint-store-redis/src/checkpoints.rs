//! Checkpoints: reading and writing them, and deleting records of either kind.

use eventhubs_checkpoint_store::{Checkpoint, CheckpointOutcome, DeleteOutcome, Expected, Result, Version};
use eventhubs_types::{ConsumerScope, PartitionId};

use crate::names::Kind;
use crate::records::{self, MAX_LISTED, MAX_VALUE};
use crate::replicas::Written;
use crate::shared::Shared;
use crate::{error, listing, replicas};

const WRITING: &str = "write a checkpoint";

pub(crate) async fn list(shared: &Shared, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
    let listing = listing::read(shared, "list checkpoints", scope, Kind::Checkpoint).await?;
    if listing.count > MAX_LISTED {
        tracing::warn!(%scope, "there are too many checkpoints; the rest was not read");
    }
    let mut found = Vec::with_capacity(listing.records.len());
    for [field, version, value] in &listing.records {
        let Some(partition) = records::partition(field) else {
            tracing::warn!(name = %records::text(field), reason = "it is no partition id", "a checkpoint was rejected");
            continue;
        };
        found.push(records::checkpoint(&partition, version, value));
    }
    Ok(found)
}

pub(crate) async fn read(
    shared: &Shared,
    scope: &ConsumerScope,
    partition: &PartitionId,
) -> Result<Option<Checkpoint>> {
    const CONTEXT: &str = "read a checkpoint";
    let key = shared.names.key(scope, Kind::Checkpoint);
    let prepare = |call: &mut redis::ScriptInvocation<'_>| {
        call.key(key).arg(partition.as_str()).arg(MAX_VALUE);
    };
    let reply: Vec<Vec<u8>> = shared.link.script(CONTEXT, &shared.scripts.read, prepare).await?;
    match reply.as_slice() {
        [] => Ok(None),
        [version, value] => Ok(Some(records::checkpoint(partition, version, value))),
        _ => Err(error::answer(CONTEXT, "the script returned no record")),
    }
}

pub(crate) async fn update(
    shared: &Shared,
    scope: &ConsumerScope,
    checkpoint: &Checkpoint,
    expected: &Expected,
) -> Result<CheckpointOutcome> {
    let rest = records::rest_of_checkpoint(checkpoint)?;
    let (key, version) = (shared.names.key(scope, Kind::Checkpoint), records::new_version());
    let field = checkpoint.partition.as_str();
    let prepare = |call: &mut redis::ScriptInvocation<'_>| {
        call.key(&key).arg(shared.publish).arg("");
        call.arg(field).arg(records::expected(expected)).arg(&version).arg(rest).arg("");
    };
    let written: Vec<String> = shared.link.script(WRITING, &shared.scripts.write, prepare).await?;
    match written.as_slice() {
        [time] if time.is_empty() => return Ok(CheckpointOutcome::Conflict),
        [_] => {}
        _ => return Err(error::answer(WRITING, "the script returned no outcome")),
    }
    if let Some(waiting) = &shared.replicas {
        let record = Written { field, version: &version };
        if waiting.confirm(WRITING, &key, &[record]).await? != [true] {
            return Err(replicas::overwritten(WRITING));
        }
    }
    Ok(CheckpointOutcome::Written(Version::new(version)))
}

/// Deletes an ownership record or a checkpoint.
pub(crate) async fn delete(
    shared: &Shared,
    scope: &ConsumerScope,
    kind: Kind,
    partition: &PartitionId,
    version: &Version,
) -> Result<DeleteOutcome> {
    let key = shared.names.key(scope, kind);
    let prepare = |call: &mut redis::ScriptInvocation<'_>| {
        call.key(key).arg(partition.as_str()).arg(version.as_str());
    };
    let deleted: u8 = shared.link.script("delete a record", &shared.scripts.delete, prepare).await?;
    Ok(if deleted == 1 { DeleteOutcome::Deleted } else { DeleteOutcome::Conflict })
}
