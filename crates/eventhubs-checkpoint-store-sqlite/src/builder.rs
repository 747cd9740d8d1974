//! The options of a store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};

use crate::open::{Options, Synchronous};
use crate::store::SqliteCheckpointStore;

/// How long one call of the store may take, unless
/// [`call_timeout`](SqliteCheckpointStoreBuilder::call_timeout) says otherwise.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time limit of a call, so that no deadline is beyond what the clock can count.
const MAX_CALL_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Options of a [`SqliteCheckpointStore`].
#[derive(Debug, Clone)]
pub struct SqliteCheckpointStoreBuilder {
    options: Options,
}

impl SqliteCheckpointStoreBuilder {
    /// When a commit is on the disk. Default: [`Synchronous::Normal`].
    ///
    /// It is about this store only. A connection of the application, which may write checkpoints too, has a
    /// setting of its own.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.options.synchronous = synchronous;
        self
    }

    /// How long one call may take, between 1 ms and 1 hour. Default: 10 seconds.
    ///
    /// Up to half of it may be spent in the queue of the store, and the rest waiting for the transactions of
    /// others, so these should be shorter.
    #[must_use]
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.options.call_timeout = limit;
        self
    }

    /// Whether to keep ownership and checkpoints in a database that has tables of the application already, as
    /// for [transactional checkpoints](crate#transactional-checkpoints). Default: no, since such a
    /// file is more likely the wrong one.
    ///
    /// All names of this crate in it begin with `eventhubs_`. The file is switched to a write-ahead log
    /// (`journal_mode = WAL`) for good; its `application_id` and `user_version` are not changed.
    #[must_use]
    pub fn allow_other_tables(mut self, allow: bool) -> Self {
        self.options.allow_other_tables = allow;
        self
    }

    /// Whether to create the file if it does not exist; its folder must exist. Default: yes. `false` is for
    /// tools, where an absent file means a wrong path.
    #[must_use]
    pub fn create_if_absent(mut self, create: bool) -> Self {
        self.options.create_if_absent = create;
        self
    }

    /// Opens the file, and creates or upgrades the tables. Any number of processes may do so at once.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) names the option that is wrong, or the file that
    /// another program made. [`NotFound`](ErrorKind::NotFound): there is no such folder or file.
    /// [`Unauthorized`](ErrorKind::Unauthorized): this user may not read and write the file.
    /// [`Protocol`](ErrorKind::Protocol): the file is damaged, is not a database, or has the tables of a
    /// later version of this crate. [`Timeout`](ErrorKind::Timeout): it is locked for longer than a call may
    /// take.
    ///
    /// # Cancel safety
    /// If dropped, the file may or may not have been created.
    pub async fn open(self) -> Result<SqliteCheckpointStore> {
        let limit = self.options.call_timeout;
        if limit < Duration::from_millis(1) || limit > MAX_CALL_TIMEOUT {
            let text = format!("call_timeout: {limit:?} is not between 1 ms and {MAX_CALL_TIMEOUT:?}");
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        SqliteCheckpointStore::start(self.options).await
    }
}

impl SqliteCheckpointStore {
    /// Opens a store in this file, which is created if it does not exist.
    ///
    /// # Errors
    /// As [`SqliteCheckpointStoreBuilder::open`].
    ///
    /// # Cancel safety
    /// As [`SqliteCheckpointStoreBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder(path.as_ref()).open().await
    }

    /// As [`open`](Self::open), with options.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteCheckpointStoreBuilder {
        let options = Options {
            path: path.into(),
            synchronous: Synchronous::default(),
            call_timeout: DEFAULT_CALL_TIMEOUT,
            allow_other_tables: false,
            create_if_absent: true,
        };
        SqliteCheckpointStoreBuilder { options }
    }
}
