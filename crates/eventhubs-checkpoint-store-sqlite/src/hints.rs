//! The table of hints: claims that announce themselves, the last ones only.

use eventhubs_checkpoint_store::{Audience, Claim, Hint};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use rusqlite::{Connection, Row, params};

use crate::{clock, records};

/// How many hints the table keeps. Whoever looks every 100 ms misses some only if there are more in that
/// time.
const MAX_KEPT: i64 = 1024;

/// How far back a watch looks when it begins, in milliseconds: a claim that is won right after may be in the
/// file before the thread hears of the watch.
const LOOK_BACK: i64 = 1000;

/// Notes a claim that was won with this version, in its transaction.
pub(crate) fn announce(
    connection: &Connection,
    scope: &ConsumerScope,
    claim: &Claim,
    version: i64,
    now: i64,
) -> rusqlite::Result<()> {
    let owner = match &claim.announces_to {
        None => return Ok(()),
        Some(Audience::Owner(owner)) => Some(owner.as_str()),
        // An audience that this version does not know: better all hear of it than nobody.
        Some(_) => None,
    };
    let [namespace, hub, group] = records::names(scope);
    let values = params![version, namespace, hub, group, claim.partition.as_str(), owner, now];
    let sql = "INSERT INTO eventhubs_hint VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Forgets all but the last hints.
pub(crate) fn prune(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "DELETE FROM eventhubs_hint WHERE version <=
        (SELECT version FROM eventhubs_hint ORDER BY version DESC LIMIT 1 OFFSET ?1)";
    connection.prepare_cached(sql)?.execute([MAX_KEPT]).map(drop)
}

/// Where a watch begins: after what was announced before the last second.
pub(crate) fn beginning(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = format!(
        "SELECT coalesce(max(version), 0) FROM eventhubs_hint WHERE written < {} - {LOOK_BACK}",
        clock::NOW
    );
    connection.query_row(&sql, [], |row| row.get(0))
}

/// Returns the hints after this version with the version of the last one, which is the same if there are
/// none.
pub(crate) fn after(
    connection: &Connection,
    version: i64,
) -> rusqlite::Result<(Vec<(ConsumerScope, Hint)>, i64)> {
    let sql =
        "SELECT version, namespace, event_hub, consumer_group, partition_id, owner_id FROM eventhubs_hint
        WHERE version > ?1 ORDER BY version";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([version])?;
    let (mut hints, mut last) = (Vec::new(), version);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        hints.extend(hint(row));
    }
    Ok((hints, last))
}

/// One that makes no sense is left out: hints may be missed.
fn hint(row: &Row<'_>) -> Option<(ConsumerScope, Hint)> {
    let text = |column| row.get::<_, String>(column).ok();
    let scope =
        ConsumerScope::new(text(1)?.try_into().ok()?, text(2)?.try_into().ok()?, text(3)?.try_into().ok()?);
    let audience = match row.get::<_, Option<String>>(5).ok()? {
        None => Audience::Everyone,
        Some(owner) => Audience::Owner(OwnerId::new(owner).ok()?),
    };
    Some((scope, Hint::new(PartitionId::new(text(4)?).ok()?, audience)))
}
