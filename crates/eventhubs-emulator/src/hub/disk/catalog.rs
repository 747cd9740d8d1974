//! Which hubs a folder holds, in one small file that is replaced as a whole, and which version of this program wrote the folder. The
//! events are in the folders of `partition.rs`.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hub::storage::{SavedHub, StorageError};

/// The file, two lines of JSON: a [`Header`], and the [`Content`] that it has the checksum of.
const FILE: &str = "hubs.jsonl";
/// Written first, then renamed to [`FILE`], so that a killed process leaves the old file or the new one.
const NEW_FILE: &str = "hubs.jsonl.new";
/// The file of version 1, a database.
const FILE_OF_VERSION_1: &str = "events.redb";
/// Of the layout of the folder.
const VERSION: u64 = 2;

/// The hubs of a folder, as they are in its file.
#[derive(Debug)]
pub(super) struct Catalog {
    folder: PathBuf,
    content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u64,
    /// The CRC-32 of the other line.
    checksum: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// The highest id that a hub was ever given. An id is never given again, since whoever still reads a deleted hub reads by it.
    last_id: u32,
    hubs: Vec<Hub>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hub {
    /// Names the folder of its events. At most `last_id`.
    id: u32,
    name: String,
    partitions: u32,
    created_ms: i64,
    consumer_groups: Vec<String>,
    era: u16,
}

/// Why the file of a folder cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It has the file of a program that knew no versions yet, or none of a folder that holds events.
    Earlier,
    Version(u64),
    Damaged(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earlier => {
                write!(f, "was written by an earlier version of this program; this one needs an empty folder")
            }
            Self::Version(version) => {
                write!(f, "has version {version}; this is a program for version {VERSION}")
            }
            Self::Damaged(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

impl Catalog {
    /// Reads the file of a folder; one that `is_new` gets a file.
    pub(super) fn open(folder: &Path, is_new: bool) -> Result<Self, Unusable> {
        let damaged = |why: &dyn fmt::Display| Unusable::Damaged(format!("{FILE}: {why}"));
        if folder.join(FILE_OF_VERSION_1).exists() {
            return Err(Unusable::Earlier);
        }
        let content = match fs::read(folder.join(FILE)) {
            Ok(bytes) => decode(&bytes)?,
            Err(error) if is_new && error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(damaged(&error)),
        };
        let mut catalog = Self { folder: folder.to_owned(), content: Content::default() };
        if is_new {
            catalog.replace(content).map_err(|StorageError(why)| Unusable::Damaged(why))?;
        } else {
            catalog.content = content;
        }
        Ok(catalog)
    }

    pub(super) fn hubs(&self) -> impl Iterator<Item = SavedHub> {
        self.content.hubs.iter().map(|hub| SavedHub {
            name: hub.name.clone(),
            partitions: hub.partitions,
            created_ms: hub.created_ms,
            consumer_groups: hub.consumer_groups.clone(),
            era: hub.era,
        })
    }

    /// Returns the ids of all hubs.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.content.hubs.iter().map(|hub| hub.id)
    }

    pub(super) fn id(&self, name: &str) -> Option<u32> {
        self.content.hubs.iter().find(|hub| hub.name == name).map(|hub| hub.id)
    }

    /// Writes a hub, over what it was.
    pub(super) fn save(&mut self, hub: &SavedHub) -> Result<(), StorageError> {
        let mut content = self.content.clone();
        let known = content.hubs.iter().position(|known| known.name == hub.name);
        let id = known.map_or(content.last_id.checked_add(1), |index| Some(content.hubs[index].id));
        let id = id.ok_or_else(|| self.failed("has had as many hubs as there are ids"))?;
        let SavedHub { name, partitions, created_ms, consumer_groups, era } = hub.clone();
        let saved = Hub { id, name, partitions, created_ms, consumer_groups, era };
        match known {
            Some(index) => content.hubs[index] = saved,
            None => content.hubs.push(saved),
        }
        content.last_id = content.last_id.max(id);
        self.replace(content)
    }

    /// Removes a hub and returns the id that it had.
    pub(super) fn remove(&mut self, name: &str) -> Result<Option<u32>, StorageError> {
        let Some(id) = self.id(name) else { return Ok(None) };
        let mut content = self.content.clone();
        content.hubs.retain(|hub| hub.id != id);
        self.replace(content)?;
        Ok(Some(id))
    }

    /// Replaces the file; when this fails, everything is as before.
    fn replace(&mut self, content: Content) -> Result<(), StorageError> {
        debug_assert!(content.hubs.iter().all(|hub| hub.id <= content.last_id));
        if content == self.content && self.folder.join(FILE).exists() {
            return Ok(());
        }
        let bytes = encode(&content).map_err(|error| self.failed(error))?;
        let new = self.folder.join(NEW_FILE);
        let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, self.folder.join(FILE)));
        written.map_err(|error| self.failed(error))?;
        self.content = content;
        Ok(())
    }

    fn failed(&self, why: impl fmt::Display) -> StorageError {
        StorageError(format!("{}: {why}", self.folder.join(FILE).display()))
    }
}

fn encode(content: &Content) -> serde_json::Result<Vec<u8>> {
    let content = serde_json::to_vec(content)?;
    let header = Header { version: VERSION, checksum: crc32fast::hash(&content) };
    let mut bytes = serde_json::to_vec(&header)?;
    bytes.push(b'\n');
    bytes.extend(content);
    bytes.push(b'\n');
    Ok(bytes)
}

/// The version comes first: what follows the header is for that version to say.
fn decode(bytes: &[u8]) -> Result<Content, Unusable> {
    let damaged = |why: &dyn fmt::Display| Unusable::Damaged(format!("{FILE}: {why}"));
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let header: Header =
        serde_json::from_slice(lines.next().unwrap_or_default()).map_err(|error| damaged(&error))?;
    if header.version != VERSION {
        return Err(Unusable::Version(header.version));
    }
    let content = lines.next().unwrap_or_default();
    if crc32fast::hash(content) != header.checksum {
        return Err(damaged(&"its checksum is another one"));
    }
    serde_json::from_slice(content).map_err(|error| damaged(&error))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn hub(name: &str) -> SavedHub {
        SavedHub {
            name: name.into(),
            partitions: 1,
            created_ms: 5,
            consumer_groups: vec!["a\n".into()],
            era: 2,
        }
    }

    #[test]
    fn the_id_of_a_deleted_hub_is_never_given_again() {
        let folder = TempDir::new().unwrap();
        let mut ids = Vec::new();
        for is_new in [true, false] {
            // Opened again: the folder has to remember, not the process.
            let mut catalog = Catalog::open(folder.path(), is_new).unwrap();
            for name in ["orders", "returns"] {
                catalog.save(&hub(name)).unwrap();
                ids.extend(catalog.remove(name).unwrap());
            }
        }
        assert_eq!(ids, [1, 2, 3, 4]);
    }

    #[test]
    fn a_hub_is_there_again_as_it_was_saved_last() {
        let folder = TempDir::new().unwrap();
        let mut catalog = Catalog::open(folder.path(), true).unwrap();
        catalog.save(&SavedHub { partitions: 9, ..hub("orders") }).unwrap();
        catalog.save(&hub("orders")).unwrap();
        let catalog = Catalog::open(folder.path(), false).unwrap();
        assert_eq!(catalog.hubs().collect::<Vec<_>>(), [hub("orders")]);
        assert_eq!(catalog.id("orders"), Some(1));
    }

    #[test]
    fn a_file_of_another_version_is_refused_by_its_number() {
        let later = b"{\"version\":3,\"checksum\":0,\"more\":true}\nwhatever";
        assert_eq!(decode(later), Err(Unusable::Version(3)));
        assert_eq!(Unusable::Version(3).to_string(), "has version 3; this is a program for version 2");
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("events.redb"), "").unwrap();
        assert_eq!(Catalog::open(folder.path(), true).unwrap_err(), Unusable::Earlier);
    }

    #[test]
    fn a_file_cut_or_changed_anywhere_is_refused() {
        let content = Content { last_id: 7, hubs: Vec::new() };
        let bytes = encode(&content).unwrap();
        assert_eq!(decode(&bytes), Ok(content));
        for length in 0..bytes.len() - 1 {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        let header = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        for byte in header..bytes.len() - 1 {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {byte}");
        }
    }
}
