//! Ownership and checkpoints of Azure Event Hubs consumers in Redis or Valkey.
//!
//! ```
//! use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = eventhubs_test_harness::RedisServer::start().await;
//! # let url = server.url();
//! // let url = "redis://redis.example.net:6379/0";
//! let store = RedisCheckpointStore::connect(url).await?;
//!
//! # let cluster = eventhubs_test_harness::RedisCluster::start().await;
//! # let urls = cluster.urls();
//! // let urls = ["redis://node-1.example.net:6379", "redis://node-2.example.net:6379"];
//! let store = RedisCheckpointStore::cluster_builder(urls).connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Records
//!
//! Each consumer group has two hashes, `eventhubs:{namespace/hub/group}:ownership` and `…:checkpoint`, with a field for
//! each partition. What is in braces decides on the slot, so that both are on one node of a cluster. Each operation is
//! one script, which takes the time from the server. No key ever expires.
//!
//! A version is a random number of 64 bits that the writer chooses. Redis answers before it replicates, so that a
//! replica that takes over may have less than its master had; a counter there would count to the same number twice.
//! What a fail-over can lose is in the [README](https://crates.io/crates/eventhubs-checkpoint-store-redis).
//!
//! # Access control
//!
//! A user of the access control list needs these rights, on the keys and on the channels `eventhubs:*`:
//!
//! ```text
//! +@connection +evalsha +eval +script|load +time +hget +hset +hdel +hlen +hgetall +hscan
//! +publish +spublish +subscribe +ssubscribe    for hints
//! +scan                                        for tools, to list scopes
//! +info +config|get                            for warnings at the start
//! +wait                                        for wait_for_replicas
//! +cluster|slots                               in a cluster
//! ```
//!
//! Without those for hints and for warnings, the store works without them.
//!
//! # TLS
//!
//! `rediss://` uses the rustls provider that the process has installed. If there is none, connecting installs `ring`
//! for the process.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | a call, connecting included | 10 s, unless set otherwise |
//! | claims in one script | 512 |
//! | records in a listing; scopes in a list of them | 8192 |
//! | a mark; an offset | 4096 bytes |
//! | a value that is read | 8192 bytes; a longer one counts as malformed |
//! | a hint | 200 bytes |
//! | hints kept for one watch that does not read | 64 |
//! | pause before a subscription is opened again | 0.1 to 10 s, give or take half of it |
//! | connections of a store | 1, one for each watch, and one for `wait_for_replicas`; in a cluster that many to each node |

mod builder;
mod checkpoints;
mod error;
mod link;
mod listing;
mod look;
mod masters;
mod names;
mod nodes;
mod ownership;
mod records;
mod replicas;
mod scopes;
mod scripts;
mod shared;
mod store;
mod subscription;
mod watch;

pub use builder::{DEFAULT_CALL_TIMEOUT, RedisCheckpointStoreBuilder};
pub use names::DEFAULT_KEY_PREFIX;
pub use records::MAX_LISTED;
pub use store::{MAX_CLAIMS, RedisCheckpointStore};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
