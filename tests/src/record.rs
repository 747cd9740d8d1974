//! What the instances of a test do, in one file that all of them append to.
//!
//! The order of the lines is the order in which things happened, across processes and without a clock: an append is one
//! write at the end of the file. What a process has written is in the file also if it is killed.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::Path;

use eventhubs_types::PartitionId;
use serde::{Deserialize, Serialize};

/// What one instance did to one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The instance; no two have one number.
    pub instance: u32,
    /// The partition.
    pub partition: usize,
    /// What it did.
    pub deed: Deed,
}

/// What an instance does. A deed that others can see the effect of is recorded before it begins if it gives something
/// away, and after its end if it claims something: so a check by this order never blames what was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// It is about to read the checkpoint.
    Looks,
    /// It begins to read.
    Opened {
        /// Whether it handles one event at a time, and not only the events of one key.
        is_in_order: bool,
    },
    /// The callback is about to return `Ok`.
    Handled {
        /// The sequence number.
        number: usize,
        /// The digest of the body.
        body: u64,
    },
    /// A sink has the event.
    DeadLettered {
        /// The sequence number.
        number: usize,
    },
    /// The callback is about to fail, or to panic.
    Failed {
        /// The sequence number.
        number: usize,
    },
    /// It is about to write a checkpoint.
    Writes,
    /// The store has a checkpoint that is not the expected one, and takes none.
    Refused,
    /// The store has taken this checkpoint.
    Checkpoint {
        /// The sequence number.
        number: usize,
    },
    /// It has stopped to read.
    Closed {
        /// Whether it was told to stop or to hand over, so that nothing may come again.
        is_clean: bool,
    },
    /// It is about to write that another may read.
    Releases,
}

/// Appends the lines of one instance.
#[derive(Debug)]
pub struct Recorder {
    instance: u32,
    file: File,
}

impl Recorder {
    /// Opens the file, and creates it if it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: impl AsRef<Path>, instance: u32) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { instance, file })
    }

    /// Appends a line.
    ///
    /// # Panics
    /// When the file cannot be written, or the partition is not one of the emulator: what is not recorded would be blamed.
    pub fn record(&self, partition: &PartitionId, deed: Deed) {
        let partition = partition.as_str().parse().expect("the emulator numbers its partitions");
        let line = Line { instance: self.instance, partition, deed };
        let line = serde_json::to_string(&line).expect("a line has no map");
        // It begins with a line end too: a kill may have cut off the line before.
        (&self.file).write_all(format!("\n{line}\n").as_bytes()).expect("the record can be written");
    }
}

/// Reads what was recorded so far, but for lines that were cut off by a kill.
///
/// # Errors
/// When the file cannot be read.
pub fn read_lines(path: impl AsRef<Path>) -> io::Result<Vec<Line>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The digest of a body.
pub fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}
