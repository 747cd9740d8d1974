//! Which segments a partition has when it is opened, and where the last one ends. What is repaired in a segment is in `segment.rs`; the
//! tests are in `tests.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::open_files::OpenFiles;
use super::record::IndexEntry;
use super::segment::{EVENTS, End, INDEX, Segment};
use crate::hub::storage::StorageError;

/// Returns the segments whose files are in a folder, in order.
pub(super) fn segments_in(folder: &Path, files: &Arc<OpenFiles>) -> Result<VecDeque<Segment>, StorageError> {
    let failed = |error: io::Error| StorageError(format!("{}: {error}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        entries => entries.map_err(failed)?,
    };
    let mut has_index = BTreeMap::new();
    for entry in entries {
        if let Some((first, is_index)) = number_and_kind(Path::new(&entry.map_err(failed)?.file_name())) {
            *has_index.entry(first).or_insert(false) |= is_index;
        }
    }
    let mut segments = VecDeque::with_capacity(has_index.len());
    for (first, has_index) in has_index {
        let segment = Segment::new(folder, first, files);
        if has_index {
            segments.push_back(segment);
        // Empty is what a process leaves that was killed between creating the two files; content without an
        // index is a loss.
        } else if segment.length()? > 0 {
            return Err(StorageError(format!("{} has lost the index of event {first}", folder.display())));
        }
    }
    Ok(segments)
}

/// Returns the first sequence number of the segment that a file belongs to, and whether the file is its index; `None` for others.
fn number_and_kind(name: &Path) -> Option<(i64, bool)> {
    let first = name.file_stem()?.to_str()?.parse().ok()?;
    match name.extension()?.to_str()? {
        INDEX => Some((first, true)),
        EVENTS => Some((first, false)),
        _ => None,
    }
}

/// Finds the end of the last segment and its last entry. A segment without events, which a killed process has only begun, is removed.
pub(super) fn recover(segments: &mut VecDeque<Segment>) -> Result<Option<(End, IndexEntry)>, StorageError> {
    while let Some(last) = segments.back() {
        if let Some(found) = last.recover()? {
            return Ok(Some(found));
        }
        last.remove()?;
        segments.pop_back();
    }
    Ok(None)
}
