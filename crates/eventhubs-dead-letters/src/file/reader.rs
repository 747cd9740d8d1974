//! The letters of a file, one after the other.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::iter::FusedIterator;
use std::path::PathBuf;

use crate::line::{self, MAX_LINE};
use crate::{DeadLetter, Error, ErrorKind, Result};

/// The letters of a file, the oldest first; made by [`FileDeadLetters::read`](crate::FileDeadLetters::read).
///
/// A line that cannot be read is an error of kind [`Malformed`](ErrorKind::Malformed) with its
/// [number](Error::line), and the next call continues after it. Any other error is the last item. A last line
/// without an end is one that is being written, or was cut off by a crash: it is no item.
#[derive(Debug)]
pub struct Letters {
    file: BufReader<File>,
    path: PathBuf,
    /// The number of the last line that was read.
    line: u64,
    is_done: bool,
}

impl Letters {
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self { file: BufReader::new(file), path, line: 0, is_done: false }
    }

    /// The next line with its end; one that is too long without.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let length = self.file.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
        if line.ends_with(b"\n") {
            return Ok(Some(line));
        }
        // It is too long, and to be passed over, or the last one.
        let is_long = length == MAX_LINE && self.file.skip_until(b'\n')? > 0;
        Ok(is_long.then_some(line))
    }

    fn read_next(&mut self) -> Option<Result<DeadLetter>> {
        let line = match self.next_line() {
            Ok(line) => line?,
            Err(error) => {
                self.is_done = true;
                return Some(Err(super::failed(&self.path, error)));
            }
        };
        self.line += 1;
        let letter = if line.ends_with(b"\n") {
            line::decode(&line)
        } else {
            Err(format!("it is longer than {MAX_LINE} bytes"))
        };
        Some(letter.map_err(|why| {
            let text = self.path.display().to_string();
            Error::new(ErrorKind::Malformed, text).at_line(self.line).with_source(why)
        }))
    }
}

impl Iterator for Letters {
    type Item = Result<DeadLetter>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let next = self.read_next();
        self.is_done |= next.is_none();
        next
    }
}

impl FusedIterator for Letters {}
