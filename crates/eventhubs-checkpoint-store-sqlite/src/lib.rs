//! Ownership and checkpoints of Azure Event Hubs consumers in a SQLite file, for the processes of one host,
//! and checkpoints in the transactions of the application.
//!
//! ```
//! use eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("checkpoints.db");
//! let store = SqliteCheckpointStore::open(&path).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The file
//!
//! Put it on a local disk: SQLite relies on locks that network file systems do not keep, so one of those is
//! logged as a warning. Two more files next to it, `-wal` and `-shm`, belong to it; copy it with the
//! `.backup` command of `sqlite3`, not with `cp`. Do not delete or replace it while an instance runs: that
//! instance then fails each call with [`NotFound`](eventhubs_checkpoint_store::ErrorKind::NotFound).
//!
//! A file of another program is refused, unless
//! [`allow_other_tables`](SqliteCheckpointStoreBuilder::allow_other_tables) says that it is meant; so is one
//! whose tables are of a later version of this crate. All names of this crate in it begin with `eventhubs_`.
//!
//! # Transactional checkpoints
//!
//! A [`TransactionalCheckpoint`](eventhubs_checkpoint_store::TransactionalCheckpoint) is written in the same
//! transaction as what an event led to, by the application, on its own connection to the same file: see
//! [`TransactionalCheckpointExt`]. SQLite itself refuses one that
//!
//! * was read by an earlier owner: [`is_fenced`]. The event is for the next owner, which begins after the
//!   last checkpoint that did commit;
//! * is not after the last checkpoint: [`is_already_done`]. That is the answer where the reply to a `COMMIT`
//!   was lost, and the event comes again.
//!
//! In both cases nothing of the transaction remains, so that what it writes appears exactly once, whatever
//! instances die, hang or lose their partitions. What it does elsewhere is done at least once.
//!
//! With another driver, execute [`WRITE_CHECKPOINT`] with the
//! [`parameters`](TransactionalCheckpointExt::parameters), and compare the text of the error with [`FENCED`]
//! and [`ALREADY_DONE`].
//!
//! # Dead letters
//!
//! The feature `dead-letters`, off by default, adds `SqliteDeadLetters`: a table in the same file for events that cannot
//! be handled, also within the transactions of the application.
//!
//! # Limits
//!
//! SQLite has one writer at a time: all instances on the file wait for a transaction of the application with
//! their claims, checkpoints and fences. One that is open for longer than a lease lasts costs all of them
//! their partitions.
//!
//! | what | limit |
//! |---|---|
//! | a call, the wait for locks included | 10 s, unless set otherwise |
//! | calls in progress on one store | 64; the others wait for half the time limit, then fail as throttled |
//! | claims in one transaction | 2048 |
//! | records in a listing | 8192 |
//! | a mark; an offset | 4096 bytes |
//! | hints kept for those who watch | 1024 |
//! | how late a commit of another process is seen by a watch | 100 ms |

mod builder;
mod checkpoints;
mod clock;
#[cfg(feature = "dead-letters")]
mod dead_letters;
mod error;
mod filesystem;
mod hints;
mod lock_wait;
mod open;
mod ownership;
mod queue;
mod records;
mod schema;
mod session;
mod store;
mod transactional;
mod watch;
mod worker;

pub use builder::{DEFAULT_CALL_TIMEOUT, SqliteCheckpointStoreBuilder};
#[cfg(feature = "dead-letters")]
pub use dead_letters::{MAX_LETTERS, SqliteDeadLetters};
pub use open::Synchronous;
pub use records::MAX_LISTED;
pub use rusqlite;
pub use schema::{APPLICATION_ID, SCHEMA_VERSION};
pub use store::{MAX_CLAIMS, SqliteCheckpointStore};
pub use transactional::{
    ALREADY_DONE, FENCED, Parameter, TransactionalCheckpointExt, WRITE_CHECKPOINT, is_already_done, is_fenced,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
