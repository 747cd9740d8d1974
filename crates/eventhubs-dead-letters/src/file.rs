//! A file of dead letters: one line of JSON for each, on the disk before `put` returns.
//!
//! `file/log.rs` is what happens to the bytes, `file/reader.rs` reads them again.

mod log;
mod reader;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{self, Path};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::{BoxError, DeadLetter, DeadLetterSink, Error, ErrorKind, Result, line};
use log::Log;
pub use reader::Letters;

/// How long a letter may take, unless [`with_time_limit`](FileDeadLetters::with_time_limit) says otherwise.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Dead letters in a file: one line of JSON for each letter, with the message in Base64.
///
/// `Ok` means that the letter is on the disk. Letters are written one after the other, each with one write and one
/// sync of the file. A line that a crash has cut off was never answered with `Ok`, and is removed when the file is
/// opened again. A letter that is put twice is in the file twice.
///
/// One process at a time writes to a file; anybody may [read](Self::read) it meanwhile. Nothing is ever removed
/// from it. To begin another one, rename it: the next letter creates a new file under the old name.
///
/// Clones share the file.
///
/// ```
/// # use eventhubs_dead_letters::DeadLetter;
/// # use eventhubs_types::{ConsumerScope, EventData};
/// use eventhubs_dead_letters::{DeadLetterSink, FileDeadLetters};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let scope = ConsumerScope::new("n".parse()?, "orders".parse()?, "group".parse()?);
/// # let letter = DeadLetter::new(scope, "0".parse()?, 7, "70", EventData::new("tea"), "instance-1".parse()?);
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("dead-letters.jsonl");
/// let sink = FileDeadLetters::open(&path).await?;
/// sink.put(&letter).await?;
/// for letter in FileDeadLetters::read(&path)? {
///     assert_eq!(letter?.event().body.bytes().unwrap(), "tea");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FileDeadLetters {
    path: Arc<Path>,
    log: Arc<Mutex<Log<File>>>,
    limit: Duration,
}

impl FileDeadLetters {
    /// Opens the file, and creates it if it does not exist; its folder must exist. A last line that was cut off is
    /// removed.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound): there is no such folder. [`Unauthorized`](ErrorKind::Unauthorized): this
    /// user may not write the file. [`InUse`](ErrorKind::InUse): another sink has it open.
    /// [`InvalidArgument`](ErrorKind::InvalidArgument): the path is that of a folder, or of a file of something
    /// else, which is not changed.
    ///
    /// # Cancel safety
    /// If dropped, the file may or may not have been created.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        // The process may change its folder later.
        let path = path::absolute(path.as_ref())
            .map_err(|source| Error::new(ErrorKind::InvalidArgument, "path").with_source(source))?;
        let opened = path.clone();
        let log = spawn_blocking(move || open_log(&opened)).await.map_err(ended)??;
        Ok(Self { path: path.into(), log: Arc::new(Mutex::new(log)), limit: DEFAULT_TIME_LIMIT })
    }

    /// Sets how long a letter may take, the wait for those before it included. Default: 30 seconds.
    #[must_use]
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Reads the letters of a file, the oldest first, also while a sink writes to it. Blocks on the disk. A last
    /// line that is cut off is passed over.
    ///
    /// # Errors
    /// When the file cannot be opened, as in [`open`](Self::open).
    pub fn read(path: impl AsRef<Path>) -> Result<Letters> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| failed(path, error))?;
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            return Err(is_folder(path));
        }
        Ok(Letters::new(file, path.to_owned()))
    }
}

#[async_trait]
impl DeadLetterSink for FileDeadLetters {
    async fn put(&self, letter: &DeadLetter) -> std::result::Result<(), BoxError> {
        let line = line::encode(letter)?;
        let (path, log) = (Arc::clone(&self.path), Arc::clone(&self.log));
        let write = async {
            let mut log = log.lock_owned().await;
            // The lock goes with the work: what is begun is finished before the next letter, also if nobody waits.
            spawn_blocking(move || write(&path, &mut log, &line)).await.map_err(ended)?
        };
        let written = timeout(self.limit, write).await;
        Ok(written
            .map_err(|_| Error::new(ErrorKind::Timeout, format!("write {}", self.path.display())))??)
    }
}

impl fmt::Debug for FileDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileDeadLetters").field("path", &self.path).finish_non_exhaustive()
    }
}

fn write(path: &Path, log: &mut Log<File>, line: &[u8]) -> Result<()> {
    // A file that was renamed or deleted would take letters that nobody looks for there.
    if !is_at(path, log.file()) {
        *log = open_log(path)?;
    }
    log.append(line).map_err(|error| failed(path, error))
}

/// Opens and locks the file, and makes its name durable.
fn open_log(path: &Path) -> Result<Log<File>> {
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Err(is_folder(path));
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = file.map_err(|error| failed(path, error))?;
    match fs4::FileExt::try_lock(&file) {
        Ok(()) => {}
        Err(fs4::TryLockError::WouldBlock) => {
            let text = format!("{} is written by another sink of dead letters", path.display());
            return Err(Error::new(ErrorKind::InUse, text));
        }
        Err(fs4::TryLockError::Error(error)) => return Err(failed(path, error)),
    }
    let is_ours = log::begins_as_ours(&mut file).map_err(|error| failed(path, error))?;
    if !is_ours {
        let text = format!("path: {} is no file of dead letters", path.display());
        return Err(Error::new(ErrorKind::InvalidArgument, text));
    }
    let log = Log::repair(file).and_then(|log| sync_folder(path).map(|()| log));
    log.map_err(|error| failed(path, error))
}

/// Whether the path still leads to this file.
#[cfg(unix)]
fn is_at(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let id = |found: fs::Metadata| (found.dev(), found.ino());
    match (fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => id(named) == id(open),
        _ => false,
    }
}

/// Elsewhere an open file cannot be renamed or deleted.
#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> bool {
    true
}

/// A new file is there after a loss of power only if its folder was synced.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn is_folder(path: &Path) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("path: {} is a folder", path.display()))
}

fn failed(path: &Path, source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Unauthorized,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::Full
        }
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, path.display().to_string()).with_source(source)
}

/// The runtime ends, or the work has panicked.
fn ended(source: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Unavailable, "the work on the file was ended").with_source(source)
}

#[cfg(test)]
mod tests {
    use eventhubs_types::{ConsumerScope, EventData};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_letter_after_one_that_never_ends_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let sink = FileDeadLetters::open(folder.path().join("letters.jsonl")).await.unwrap();
        let scope = ConsumerScope::new("n".parse().unwrap(), "h".parse().unwrap(), "g".parse().unwrap());
        let (partition, owner) = ("0".parse().unwrap(), "owner".parse().unwrap());
        let letter = DeadLetter::new(scope, partition, 1, "1", EventData::new("body"), owner);
        let hanging = sink.log.lock().await;
        let error = sink.put(&letter).await.unwrap_err().downcast::<Error>().unwrap();
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Timeout, true));
        drop(hanging);
        sink.put(&letter).await.unwrap();
    }

    #[test]
    fn a_full_disk_has_a_kind_of_its_own_and_may_pass() {
        let error = failed(Path::new("x"), io::ErrorKind::StorageFull.into());
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Full, true));
        let error = failed(Path::new("x"), io::ErrorKind::PermissionDenied.into());
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unauthorized, false));
    }
}
