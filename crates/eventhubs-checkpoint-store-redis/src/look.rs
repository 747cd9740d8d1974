//! One look at the servers when a store connects: whether they are what they are taken for, and what could lose the
//! records.

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use redis::{FromRedisValue as _, RedisError, RedisResult, Value};

use crate::link::Link;
use crate::masters;

const CONTEXT: &str = "look at the server";

/// The oldest Redis that has all that the scripts use.
const OLDEST: (u32, u32) = (6, 2);

/// The first Redis with publishing that stays within a shard of a cluster.
const SHARDED: (u32, u32) = (7, 0);

/// What a look has found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    infos: Vec<String>,
    saves: Vec<String>,
}

impl Seen {
    /// Asks all masters. A server that forbids that is no error, and nothing is known of it then.
    ///
    /// # Errors
    /// When a server could not be reached, or refuses the credential.
    pub(crate) async fn look(link: &Link) -> Result<Self> {
        let mut config = redis::cmd("CONFIG");
        config.arg("GET").arg("save");
        let infos = ask(link, &redis::cmd("INFO")).await?;
        let saves = ask(link, &config).await?;
        Ok(Self {
            infos: infos.into_iter().filter_map(|info| String::from_redis_value(info).ok()).collect(),
            saves: saves.into_iter().filter_map(save).collect(),
        })
    }

    /// Refuses a node of a cluster that is taken for a server of its own.
    pub(crate) fn check(&self, is_cluster: bool) -> Result<()> {
        match self.fields("redis_mode").next() {
            Some("cluster") if !is_cluster => {
                let text =
                    "url: the server is a node of a cluster; see RedisCheckpointStore::cluster_builder";
                Err(Error::new(ErrorKind::InvalidArgument, text))
            }
            Some(mode) if mode != "cluster" && is_cluster => {
                let text = "urls: the server is not a node of a cluster; see RedisCheckpointStore::builder";
                Err(Error::new(ErrorKind::InvalidArgument, text))
            }
            _ => Ok(()),
        }
    }

    /// Whether all servers have `SPUBLISH`; what is not known is taken for new.
    pub(crate) fn is_sharded(&self) -> bool {
        self.versions().all(|version| version >= SHARDED)
    }

    /// Logs what could lose the records, each once, whatever the number of servers.
    pub(crate) fn warn(&self, servers: &str) {
        if let Some(policy) = self.fields("maxmemory_policy").find(|policy| policy.starts_with("allkeys-")) {
            tracing::warn!(servers, policy, "the server evicts checkpoints when its memory is full");
        }
        let has_no_log = self.fields("aof_enabled").any(|enabled| enabled == "0");
        if has_no_log && self.saves.iter().any(String::is_empty) {
            tracing::warn!(servers, "the server keeps nothing on disk: a restart loses all checkpoints");
        }
        if self.fields("role").any(|role| role == "slave") {
            tracing::warn!(servers, "the server is a replica, which takes no writes");
        }
        if let Some((major, minor)) = self.versions().find(|version| *version < OLDEST) {
            tracing::warn!(servers, version = %format_args!("{major}.{minor}"), "the server is older than Redis 6.2");
        }
    }

    fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let value = move |line: &'a str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim());
        self.infos.iter().filter_map(move |info| info.lines().find_map(value))
    }

    /// The versions of Redis that the servers are compatible with; Valkey says 7.2.
    fn versions(&self) -> impl Iterator<Item = (u32, u32)> {
        self.fields("redis_version").filter_map(|version| {
            let mut parts = version.split('.').map(str::parse);
            Some((parts.next()?.ok()?, parts.next()?.ok()?))
        })
    }
}

/// Returns the replies of all masters, or nothing where this user may not ask.
async fn ask(link: &Link, command: &redis::Cmd) -> Result<Vec<Value>> {
    let replies =
        link.call(CONTEXT, async |connection| forbidden(masters::ask_all(connection, command).await)).await?;
    Ok(replies.unwrap_or_default().into_iter().map(|(_, reply)| reply).collect())
}

fn forbidden<T>(reply: RedisResult<T>) -> RedisResult<Option<T>> {
    let is_forbidden = |error: &RedisError| matches!(error.code(), Some("NOPERM" | "ERR"));
    match reply {
        Err(error) if is_forbidden(&error) => Ok(None),
        reply => reply.map(Some),
    }
}

/// When a snapshot is made, as `CONFIG GET save` tells; empty if never.
fn save(reply: Value) -> Option<String> {
    let [_, when] = <[String; 2]>::try_from(Vec::<String>::from_redis_value(reply).ok()?).ok()?;
    Some(when)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(info: &str) -> Seen {
        Seen { infos: vec![info.to_owned()], saves: Vec::new() }
    }

    #[test]
    fn a_server_that_says_nothing_is_taken_for_a_new_one() {
        assert!(Seen::default().is_sharded());
        Seen::default().check(true).unwrap();
        Seen::default().check(false).unwrap();
    }

    #[test]
    fn publishing_within_a_shard_begins_with_redis_7() {
        assert!(!seen("redis_version:6.2.14\r\n").is_sharded());
        assert!(seen("# Server\r\nredis_version:7.0.15\r\n").is_sharded());
        assert!(seen("redis_version:10.0.0\r\n").is_sharded());
    }

    #[test]
    fn a_cluster_is_not_taken_for_a_server_nor_the_other_way() {
        let error = seen("redis_mode:cluster\r\n").check(false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let error = seen("redis_mode:standalone\r\n").check(true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        seen("redis_mode:cluster\r\n").check(true).unwrap();
        seen("redis_mode:standalone\r\n").check(false).unwrap();
    }
}
