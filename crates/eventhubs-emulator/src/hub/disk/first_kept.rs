//! The sequence number at which a partition begins, in a file of its own: retention moves it more often than it removes a segment.

use std::path::Path;
use std::sync::Arc;

use super::open_files::{DataFile, OpenFiles};
use crate::hub::storage::StorageError;

const FILE: &str = "first";
/// The number and its checksum, in bytes.
const LENGTH: usize = 12;

/// The sequence number of the first event that retention has left.
#[derive(Debug)]
pub(super) struct FirstKept {
    file: DataFile,
    /// What the file says; zero when there is none. Never decreases.
    number: i64,
    created: bool,
}

impl FirstKept {
    pub(super) fn open(folder: &Path, files: &Arc<OpenFiles>) -> Result<Self, StorageError> {
        let file = DataFile::new(folder.join(FILE), files);
        // A process that was killed between creating and writing the file has left it empty.
        let created = file.length()? > 0;
        let number = if created { decode(&file.read(0, LENGTH)?) } else { Some(0) };
        let number = number.ok_or_else(|| file.damaged("is damaged"))?;
        Ok(Self { file, number, created })
    }

    pub(super) fn number(&self) -> i64 {
        self.number
    }

    /// Moves the number; it stays where it was when this fails.
    pub(super) fn advance_to(&mut self, number: i64) -> Result<(), StorageError> {
        debug_assert!(number >= self.number, "what is gone does not come back");
        if !self.created {
            self.file.create()?;
            self.created = true;
        }
        self.file.write(&encode(number), 0)?;
        self.number = number;
        Ok(())
    }
}

fn encode(number: i64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (content, checksum) = bytes.split_at_mut(8);
    content.copy_from_slice(&number.to_le_bytes());
    checksum.copy_from_slice(&crc32fast::hash(content).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<i64> {
    let (number, checksum) = bytes.split_first_chunk::<8>()?;
    (crc32fast::hash(number).to_le_bytes() == checksum).then(|| i64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written_and_a_changed_bit_is_found() {
        for number in [0, 1, 1 << 40] {
            let bytes = encode(number);
            assert_eq!(decode(&bytes), Some(number));
            for bit in 0..8 * LENGTH {
                let mut damaged = bytes;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&damaged), None, "bit {bit}");
            }
        }
    }
}
