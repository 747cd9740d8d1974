//! Files that are read and written at given places, of which a limited number is open at once. What is in them is for others to say.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::hub::storage::StorageError;
use crate::sync::lock;

/// How many files are open at once. A process may often have no more than 1024, and clients need some of them.
const MAX_OPEN: usize = 256;

/// The files of a folder that are open now.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    table: Mutex<Table>,
    /// A device without room: about the first half of what is written fits, and nothing of a few bytes.
    #[cfg(test)]
    pub(super) full: std::sync::atomic::AtomicBool,
}

impl OpenFiles {
    /// Returns how many bytes of a write the device takes.
    #[cfg(test)]
    fn room(&self, length: usize) -> usize {
        if self.full.load(std::sync::atomic::Ordering::Relaxed) { length / 32 * 16 } else { length }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests have a device that is full")]
    fn room(&self, length: usize) -> usize {
        length
    }
}

#[derive(Debug, Default)]
struct Table {
    /// By the number of the [`DataFile`], with the time of the last use, counted in uses of any file. At most [`MAX_OPEN`].
    open: HashMap<u64, (Arc<File>, u64)>,
    uses: u64,
    last_number: u64,
}

impl Table {
    fn find(&mut self, number: u64) -> Option<Arc<File>> {
        self.uses += 1;
        let (file, last_use) = self.open.get_mut(&number)?;
        *last_use = self.uses;
        Some(Arc::clone(file))
    }

    fn insert(&mut self, number: u64, file: &Arc<File>) {
        if self.open.len() >= MAX_OPEN
            && let Some((&oldest, _)) = self.open.iter().min_by_key(|(_, (_, last_use))| *last_use)
        {
            self.open.remove(&oldest);
        }
        self.open.insert(number, (Arc::clone(file), self.uses));
        debug_assert!(self.open.len() <= MAX_OPEN);
    }
}

/// A file, which is opened when it is used and may be closed between two uses.
///
/// Its owner calls it from one thread at a time: where the system has no positioned reads, the position is one of the file.
#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    number: u64,
    files: Arc<OpenFiles>,
}

impl DataFile {
    pub(super) fn new(path: PathBuf, files: &Arc<OpenFiles>) -> Self {
        let mut table = lock(&files.table);
        table.last_number += 1;
        Self { path, number: table.last_number, files: Arc::clone(files) }
    }

    /// Creates the file, or empties it.
    pub(super) fn create(&self) -> Result<(), StorageError> {
        self.open(OpenOptions::new().create(true).truncate(true))
            .map(drop)
            .map_err(|error| self.failed(error))
    }

    /// Returns the length of the file; zero when there is none.
    pub(super) fn length(&self) -> Result<u64, StorageError> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.failed(error)),
        }
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![0; length];
        let read = self.file().and_then(|file| read_exact_at(&file, &mut bytes, offset));
        match read {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged("is cut short")),
            Err(error) => Err(self.failed(error)),
        }
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StorageError> {
        let fitting = self.files.room(bytes.len());
        let written = self.file().and_then(|file| write_all_at(&file, &bytes[..fitting], offset));
        written.map_err(|error| self.failed(error))?;
        if fitting < bytes.len() { Err(self.failed(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    /// Cuts off what comes after this many bytes.
    pub(super) fn truncate(&self, length: u64) -> Result<(), StorageError> {
        self.file().and_then(|file| file.set_len(length)).map_err(|error| self.failed(error))
    }

    /// Removes the file, if it is there.
    pub(super) fn remove(&self) -> Result<(), StorageError> {
        self.close();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    pub(super) fn damaged(&self, how: &str) -> StorageError {
        StorageError(format!("{} {how}", self.path.display()))
    }

    fn failed(&self, error: impl std::fmt::Display) -> StorageError {
        StorageError(format!("{}: {error}", self.path.display()))
    }

    fn file(&self) -> io::Result<Arc<File>> {
        // The lock is not held while the file is opened, since other partitions use the table too.
        let open = lock(&self.files.table).find(self.number);
        open.map_or_else(|| self.open(&mut OpenOptions::new()), Ok)
    }

    fn open(&self, options: &mut OpenOptions) -> io::Result<Arc<File>> {
        let file = Arc::new(options.read(true).write(true).open(&self.path)?);
        lock(&self.files.table).insert(self.number, &file);
        Ok(file)
    }

    fn close(&self) {
        lock(&self.files.table).open.remove(&self.number);
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Read::read_exact(&mut file, bytes)
}

#[cfg(not(unix))]
fn write_all_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Write::write_all(&mut file, bytes)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn more_files_than_may_be_open_are_written_and_read() {
        let folder = TempDir::new().unwrap();
        let files = Arc::new(OpenFiles::default());
        let file = |n: usize| DataFile::new(folder.path().join(n.to_string()), &files);
        let all: Vec<_> = (0..2 * MAX_OPEN).map(file).collect();
        for (n, file) in all.iter().enumerate() {
            file.create().unwrap();
            file.write(&n.to_le_bytes(), 3).unwrap();
        }
        for (n, file) in all.iter().enumerate() {
            assert_eq!(file.read(3, 8).unwrap(), n.to_le_bytes());
        }
        assert_eq!(lock(&files.table).open.len(), MAX_OPEN);
        drop(all);
        assert_eq!(lock(&files.table).open.len(), 0);
    }

    #[test]
    fn a_file_that_is_too_short_says_so_and_one_that_is_gone_has_no_length() {
        let folder = TempDir::new().unwrap();
        let file = DataFile::new(folder.path().join("f"), &Arc::default());
        assert_eq!(file.length(), Ok(0));
        file.create().unwrap();
        file.write(b"abc", 0).unwrap();
        let StorageError(why) = file.read(1, 3).unwrap_err();
        assert!(why.ends_with("f is cut short"), "{why}");
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(file.read(0, 1).is_err());
    }
}
