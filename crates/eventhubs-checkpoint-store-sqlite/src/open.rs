//! Opening the file: what is refused, and how many processes may begin on an absent one at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::time::Instant;

use crate::filesystem::network_file_system;
use crate::session::Session;
use crate::{error, lock_wait, schema};

/// The pause before opening is tried again, while other processes begin on the same file.
const PAUSE: Duration = Duration::from_millis(5);

/// The size to which the log of SQLite shrinks after a long transaction, in bytes.
const MAX_IDLE_LOG: i64 = 16 * 1024 * 1024;

/// When a commit is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// Soon after it was answered: a loss of power may undo the last commits, in their order. A crash of the
    /// process undoes nothing.
    #[default]
    Normal,
    /// Before it is answered, which costs one write to the disk for each call.
    Full,
}

/// What a store is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) path: PathBuf,
    pub(crate) synchronous: Synchronous,
    pub(crate) call_timeout: Duration,
    pub(crate) allow_other_tables: bool,
    pub(crate) create_if_absent: bool,
}

/// Opens the file, and creates or upgrades the tables. Blocks for the time limit of a call at most.
pub(crate) fn open(options: &Options) -> Result<Session> {
    check_path(&options.path)?;
    if let Some(file_system) = network_file_system(&options.path) {
        tracing::warn!(
            path = %options.path.display(),
            file_system,
            "the checkpoints are on a network file system, whose locks SQLite cannot rely on: two instances may own one partition"
        );
    }
    let deadline = Instant::now() + options.call_timeout;
    lock_wait::set_deadline(deadline);
    loop {
        match try_open(options) {
            // SQLite does not wait for a lock where it fears a deadlock, as when several switch to WAL at
            // once.
            Err(error) if error.kind() == ErrorKind::Timeout && Instant::now() < deadline => pause(),
            outcome => return outcome,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the thread of the store, which no runtime runs on")]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Names by which SQLite keeps a database in memory, which no other instance would see, and URIs, which could
/// ask for it.
fn check_path(path: &Path) -> Result<()> {
    let reason = match path.as_os_str().to_str() {
        Some("") => "is empty",
        Some(":memory:") => {
            "is `:memory:`, which no other instance sees: use `MemoryCheckpointStore`, or give a file"
        }
        Some(text) if text.starts_with("file:") => "is a URI: give the path of a file",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidArgument, format!("path: {reason}")))
}

fn try_open(options: &Options) -> Result<Session> {
    let path = &options.path;
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, options.create_if_absent);
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|source| cannot_open(path, source))?;
    // No wait yet, where `rusqlite` waits for 5 s: that somebody writes is answer enough.
    connection.busy_timeout(Duration::ZERO).map_err(|source| failed(path, source))?;
    check_writable(&connection, path)?;
    lock_wait::install(&connection).map_err(|source| failed(path, source))?;
    // Before anything is changed, for the file may be of another program.
    schema::check(&connection, path, options.allow_other_tables)?;
    configure(&connection, options.synchronous).map_err(|source| failed(path, source))??;
    // After the switch to WAL, which SQLite only makes outside of a transaction.
    schema::migrate(&mut connection, path)?;
    Session::new(connection, path.clone()).map_err(|source| {
        Error::new(ErrorKind::NotFound, format!("{} is gone", path.display())).with_source(source)
    })
}

/// SQLite opens a file that may not be written for reading, and says so only at the first write.
fn check_writable(connection: &Connection, path: &Path) -> Result<()> {
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        // A transaction of somebody else, which may be long: it shows that the file can be written.
        Err(error) if is_busy(&error) => Ok(()),
        outcome => outcome.map_err(|source| failed(path, source)),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn configure(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<Result<()>> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let text = format!("path: its file system cannot have a write-ahead log, only `{mode}`");
        return Ok(Err(Error::new(ErrorKind::InvalidArgument, text)));
    }
    let synchronous = match synchronous {
        Synchronous::Normal => "NORMAL",
        Synchronous::Full => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {MAX_IDLE_LOG}"), [], |_| Ok(()))?;
    Ok(Ok(()))
}

/// SQLite has one code for all that may be wrong with a path, so `stat` is asked for more.
fn cannot_open(path: &Path, source: rusqlite::Error) -> Error {
    if source.sqlite_error_code() != Some(ErrorCode::CannotOpen) {
        return failed(path, source);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (kind, text) = match (fs::metadata(path), fs::metadata(folder)) {
        (Ok(found), _) if found.is_dir() => (ErrorKind::InvalidArgument, "is a folder"),
        (Err(file), Ok(found)) if is_absent(&file) && found.is_dir() => {
            (ErrorKind::NotFound, "does not exist and cannot be created")
        }
        (Err(_), Err(folder)) if is_absent(&folder) => {
            (ErrorKind::NotFound, "is in a folder that does not exist")
        }
        _ => (ErrorKind::Unauthorized, "cannot be opened by this user"),
    };
    Error::new(kind, format!("path: {} {text}", path.display())).with_source(source)
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn failed(path: &Path, source: rusqlite::Error) -> Error {
    error::of(format!("open {}", path.display()), source)
}
