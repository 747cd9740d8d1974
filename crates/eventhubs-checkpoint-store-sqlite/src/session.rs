//! The connection of a store, and what holds for each call on it.

use std::io;
use std::path::{self, Path, PathBuf};

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::time::Instant;

use crate::{error, lock_wait};

/// An open connection, and which file it was opened on.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    path: PathBuf,
    file: FileId,
}

impl Session {
    pub(crate) fn new(connection: Connection, path: PathBuf) -> io::Result<Self> {
        // As SQLite does: the process may change its folder later.
        let path = path::absolute(path)?;
        let file = FileId::of(&path)?;
        Ok(Self { connection, path, file })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Does one piece of work, which waits for the locks of others until shortly before the deadline.
    pub(crate) fn run<T>(
        &mut self,
        context: &'static str,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.check_file()?;
        // A tenth less than there is, so that the caller hears of the lock before its own time limit.
        let now = Instant::now();
        lock_wait::set_deadline(now + deadline.saturating_duration_since(now) * 9 / 10);
        work(&mut self.connection)
            .map_err(|source| error::of(format!("{context} in {}", self.path.display()), source))
    }

    /// SQLite keeps writing to a file that was deleted or replaced. Instances that start later use the new
    /// one, so each partition would have two owners.
    fn check_file(&self) -> Result<()> {
        let found = FileId::of(&self.path);
        if found.as_ref().is_ok_and(|found| *found == self.file) {
            return Ok(());
        }
        let text = format!("{} was moved, deleted or replaced while in use", self.path.display());
        let error = Error::new(ErrorKind::NotFound, text);
        Err(match found {
            Ok(_) => error,
            Err(source) => error.with_source(source),
        })
    }
}

/// What tells a file from another one that has its name later.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileId {
    /// By `stat` and never by opening the file: closing any descriptor of it would release all locks that
    /// SQLite has on it in this process.
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;

        let found = std::fs::metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }

    /// Elsewhere an open file cannot be deleted.
    #[cfg(not(unix))]
    fn of(_: &Path) -> io::Result<Self> {
        Ok(Self {})
    }
}
