//! The scopes that have records, which are found by a walk over all keys of all masters.

use std::collections::BTreeSet;

use eventhubs_checkpoint_store::Result;
use eventhubs_types::ConsumerScope;
use redis::{FromRedisValue as _, RedisResult};

use crate::link::Connection;
use crate::masters::{self, Master};
use crate::names::Names;
use crate::records::MAX_LISTED;
use crate::shared::Shared;

/// About how many keys one `SCAN` looks at.
const STEP: usize = 1000;

/// Lists scopes, within the time limit of one call.
pub(crate) async fn list(shared: &Shared) -> Result<Vec<ConsumerScope>> {
    let found =
        shared.link.call("list scopes", async |connection| walk_all(connection, &shared.names).await).await?;
    if found.len() >= MAX_LISTED {
        tracing::warn!("there are too many scopes; the rest was not read");
    }
    Ok(found.into_iter().collect())
}

async fn walk_all(connection: Connection, names: &Names) -> RedisResult<BTreeSet<ConsumerScope>> {
    let mut found = BTreeSet::new();
    // Its answer is the list of masters.
    for (master, _) in masters::ask_all(connection.clone(), &redis::cmd("PING")).await? {
        walk(connection.clone(), &master, names, &mut found).await?;
    }
    Ok(found)
}

async fn walk(
    connection: Connection,
    master: &Master,
    names: &Names,
    found: &mut BTreeSet<ConsumerScope>,
) -> RedisResult<()> {
    let mut cursor = 0_u64;
    while found.len() < MAX_LISTED {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(names.pattern()).arg("COUNT").arg(STEP);
        let reply = masters::ask(connection.clone(), master, &scan).await?;
        let (next, keys) = <(u64, Vec<Vec<u8>>)>::from_redis_value(reply)?;
        found.extend(keys.iter().filter_map(|key| names.scope(std::str::from_utf8(key).ok()?)));
        if next == 0 {
            break;
        }
        cursor = next;
    }
    Ok(())
}
