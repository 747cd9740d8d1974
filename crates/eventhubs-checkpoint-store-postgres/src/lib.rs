//! Ownership and checkpoints of Azure Event Hubs consumers in PostgreSQL, and checkpoints in the transactions
//! of the application.
//!
//! ```
//! use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
//!
//! // Nothing is sent before the first use, which creates the schema `eventhubs`.
//! let store = PostgresCheckpointStore::from_connection_string("postgres://app:secret@db.example.net/orders")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The database
//!
//! PostgreSQL 12 or newer (the tests run on 15), the primary server: a replica is refused, since what it
//! shows may be old. Schema and tables are created by the first call, by any number of instances at once.
//! Whoever wants to do that by hand prints the statements with [`schema_sql`] and switches
//! [`migrate`](PostgresCheckpointStoreBuilder::migrate) off.
//!
//! Poolers of transactions, such as PgBouncer, work: no session keeps a setting, a lock or a prepared
//! statement. Only [`watch`](eventhubs_checkpoint_store::CheckpointStore::watch) is silent with them, and
//! says so once at WARN.
//!
//! After a fail-over to a replica that lacked the last commits, a partition may have two owners for one
//! interval, and events after a lost checkpoint are repeated. Versions have random bits, so that an owner of
//! before cannot take a record of after for its own.
//!
//! # TLS
//!
//! As libpq reads `sslmode`: `disable`, `prefer` (the default; TLS if the server has it), `require` (TLS,
//! with any certificate) and `verify-full` (TLS, with a certificate for the host from an authority that the
//! system trusts or that was given to [`trust`](PostgresCheckpointStoreBuilder::trust)). Over networks of
//! others use `verify-full`.
//!
//! # Transactional checkpoints
//!
//! A [`TransactionalCheckpoint`](eventhubs_checkpoint_store::TransactionalCheckpoint) is written in the same
//! transaction as what an event led to, by the application, on its own connection to the same database: with
//! [`write_checkpoint`](PostgresCheckpointStore::write_checkpoint) over `tokio-postgres`, or by the
//! [statement](PostgresCheckpointStore::checkpoint_statement) over any other driver. The database itself
//! refuses one that
//!
//! * was read by an earlier owner: SQLSTATE [`FENCED`]. The event is for the next owner, which begins after
//!   the last checkpoint that did commit;
//! * is not after the last checkpoint: SQLSTATE [`ALREADY_DONE`]. That is the answer where the reply to a
//!   `COMMIT` was lost, and the event comes again.
//!
//! In both cases nothing of the transaction remains, so that what it writes appears exactly once, whatever
//! instances die, hang or lose their partitions. What it does elsewhere is done at least once.
//!
//! With `sqlx`:
//!
//! ```text
//! let mut transaction = pool.begin().await?;
//! let statement = store.checkpoint_statement(&checkpoint);
//! let written = sqlx::query(AssertSqlSafe(statement.sql))
//!     .bind(statement.namespace).bind(statement.event_hub).bind(statement.consumer_group)
//!     .bind(statement.partition).bind(statement.epoch).bind(statement.offset).bind(statement.sequence_number)
//!     .execute(&mut *transaction).await;
//! match written {
//!     Ok(_) => {
//!         sqlx::query("INSERT INTO orders …").execute(&mut *transaction).await?;
//!         transaction.commit().await?;
//!     }
//!     Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(ALREADY_DONE) => {} // it is rolled back
//!     Err(error) => return Err(error),
//! }
//! ```
//!
//! `examples/transactions` of the repository has this as a program, and one with `diesel` on SQLite. With `diesel`, `diesel::sql_query(statement.sql)` takes the same seven values by `bind::<Text, _>` and
//! `bind::<BigInt, _>`; its errors have no SQLSTATE, so look for `eventhubs: fenced` and `eventhubs: already
//! done` at the beginning of their text.
//!
//! # Dead letters
//!
//! The feature `dead-letters`, off by default, adds `PostgresDeadLetters`: a table in the same schema for events that
//! cannot be handled, also within the transactions of the application.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | a call, the waits for a connection and for locks included; `statement_timeout` | 10 s, unless set otherwise |
//! | to connect to one host | 5 s, or `connect_timeout` |
//! | connections for calls; for each watch; for announcements, from the first watch on | 2; 1, and 2 while it begins; 1 |
//! | calls that write a checkpoint or begin an ownership at a time | 1: the other connection is for renewals |
//! | one wait for a transaction that has written a checkpoint | 50 ms, growing to 1 s, until the limit of the call |
//! | claims in one statement | 2048 |
//! | records in a listing; scopes | 8192; 10 000 |
//! | a mark; an offset | 4096 bytes |
//! | a notification; how many wait to be sent or read | 200 bytes; 256 |
//! | pauses before the connection of a watch is made again | 0.25 s, growing to 30 s |

mod announcer;
mod builder;
mod call;
mod checkpoints;
mod conninfo;
#[cfg(feature = "dead-letters")]
mod dead_letters;
mod error;
mod ownership;
mod records;
mod schema;
mod statements;
mod store;
mod tls;
mod transactional;
mod watch;

pub use builder::{DEFAULT_CALL_TIMEOUT, PostgresCheckpointStoreBuilder};
#[cfg(feature = "dead-letters")]
pub use dead_letters::{MAX_LETTERS, PostgresDeadLetters, dead_letters_schema_sql};
pub use schema::{DEFAULT_SCHEMA, SCHEMA_VERSION, schema_sql};
pub use store::{MAX_CLAIMS, MAX_LISTED, PostgresCheckpointStore};
pub use tokio_postgres;
pub use transactional::{ALREADY_DONE, CheckpointStatement, FENCED, is_already_done, is_fenced};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
