//! Registry and events in a folder, so that they outlive the process. This file joins what is in the folder `disk`; what must hold for every
//! storage is tested in `tests/it/persistence.rs`.
//!
//! ```text
//! lock                     held by the process that uses the folder
//! hubs.jsonl               the hubs, with their ids
//! events/ID/PARTITION/     first, and two files for each segment: NUMBER.events, NUMBER.index
//! ```
//!
//! Nothing waits for the device: what a killed process has written is in the page cache and survives it; the loss of power is not what
//! an emulator is for.

mod catalog;
mod first_kept;
mod open_files;
mod partition;
mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use self::catalog::Catalog;
use self::open_files::OpenFiles;
use self::partition::PartitionStore;
use crate::error::{Error, ErrorKind};
use crate::hub::storage::{EventStore, SavedHub, State, Storage, StorageError};
use crate::sync::lock;

const LOCK: &str = "lock";
const EVENTS: &str = "events";

/// The folder of one emulator.
#[derive(Debug)]
pub(crate) struct DiskStorage {
    /// Of the events.
    events: PathBuf,
    catalog: Mutex<Catalog>,
    files: Arc<OpenFiles>,
    /// The system unlocks it when the process ends, however it ends.
    _locked: File,
}

impl DiskStorage {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// When another process uses it, or what is in it cannot be used.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let failed =
            |why: &str| Error::new(ErrorKind::Storage, format!("the data folder {} {why}", folder.display()));
        fs::create_dir_all(folder).map_err(|error| failed("cannot be made").with_source(error))?;
        let locked = match lock_file(folder) {
            Ok(file) => file,
            Err(fs4::TryLockError::WouldBlock) => return Err(failed("is used by another process")),
            Err(fs4::TryLockError::Error(error)) => {
                return Err(failed("cannot be locked").with_source(error));
            }
        };
        let events = folder.join(EVENTS);
        // This folder is made last, so whatever has it has a catalog too.
        let catalog = Catalog::open(folder, !events.exists()).map_err(|why| failed(&why.to_string()))?;
        fs::create_dir_all(&events).map_err(|error| failed("cannot be made").with_source(error))?;
        remove_deleted(&events, &catalog);
        Ok(Self { events, catalog: Mutex::new(catalog), files: Arc::default(), _locked: locked })
    }
}

impl Storage for DiskStorage {
    fn hubs(&self) -> Result<Vec<SavedHub>, StorageError> {
        Ok(lock(&self.catalog).hubs().collect())
    }

    fn save_hub(&self, hub: &SavedHub) -> Result<(), StorageError> {
        lock(&self.catalog).save(hub)
    }

    fn delete_hub(&self, name: &str) -> Result<(), StorageError> {
        if let Some(id) = lock(&self.catalog).remove(name)? {
            remove_hub(&self.events.join(id.to_string()));
        }
        Ok(())
    }

    fn partition(&self, hub: &str, partition: u32) -> Result<(Box<dyn EventStore>, State), StorageError> {
        let id = lock(&self.catalog).id(hub);
        let id = id.ok_or_else(|| StorageError(format!("{} has no hub {hub:?}", self.events.display())))?;
        let folder = self.events.join(id.to_string()).join(partition.to_string());
        let (store, state) = PartitionStore::open(folder, &self.files)?;
        Ok((Box::new(store), state))
    }
}

/// Locks the folder against other processes, and against another emulator of this one.
fn lock_file(folder: &Path) -> Result<File, fs4::TryLockError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(folder.join(LOCK))?;
    // By its path, since the standard library has a method of the same name from Rust 1.89 on.
    fs4::FileExt::try_lock(&file)?;
    Ok(file)
}

/// Removes the events of hubs that were deleted by a process that was killed meanwhile.
fn remove_deleted(events: &Path, catalog: &Catalog) {
    let ids: Vec<_> = catalog.ids().collect();
    for entry in fs::read_dir(events).into_iter().flatten().flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if id.is_some_and(|id| !ids.contains(&id)) {
            remove_hub(&entry.path());
        }
    }
}

/// Removes the events of a hub that the catalog does not have any more: when this fails, the next start tries again.
fn remove_hub(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("events of a deleted hub are still in {}: {error}", folder.display());
        }
        _ => {}
    }
}
