//! Lines at the end of a file: whole and on the disk, or not there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::line;

/// How much is read at a time to find the last end of a line.
const CHUNK: u64 = 64 * 1024;

/// What a log needs of a file, so that a test can have the disk fail.
pub(super) trait Disk: Read + Write + Seek {
    /// Cuts the file off here.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Returns once all that was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        // With what is needed to read the data again, such as the length of the file.
        self.sync_data()
    }
}

/// Whether the file is empty, or begins as a line of this crate does, as far as it goes.
pub(super) fn begins_as_ours(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    file.rewind()?;
    let mut start = Vec::with_capacity(line::START.len());
    file.take(line::START.len() as u64).read_to_end(&mut start)?;
    Ok(line::START.starts_with(&start))
}

/// A file of whole lines, and perhaps the rest of one that could not be written.
#[derive(Debug)]
pub(super) struct Log<D> {
    disk: D,
    /// Where the last whole line ends.
    end: u64,
    has_rest: bool,
}

impl<D: Disk> Log<D> {
    /// Removes what follows the last whole line.
    pub(super) fn repair(mut disk: D) -> io::Result<Self> {
        let end = end_of_lines(&mut disk)?;
        disk.cut(end)?;
        disk.sync()?;
        Ok(Self { disk, end, has_rest: false })
    }

    pub(super) fn file(&self) -> &D {
        &self.disk
    }

    /// Writes one line. If that fails, nothing of it remains, at the latest when the next one is written.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.remove_rest()?;
        self.has_rest = true;
        let written = self.write(line);
        match written {
            Ok(()) => {
                self.end += line.len() as u64;
                self.has_rest = false;
            }
            // At once, for it takes space that the disk may not have.
            Err(_) => _ = self.remove_rest(),
        }
        written
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.disk.seek(SeekFrom::Start(self.end))?;
        self.disk.write_all(line)?;
        self.disk.sync()
    }

    fn remove_rest(&mut self) -> io::Result<()> {
        if self.has_rest {
            self.disk.cut(self.end)?;
            self.has_rest = false;
        }
        Ok(())
    }
}

fn end_of_lines(disk: &mut impl Disk) -> io::Result<u64> {
    let mut end = disk.seek(SeekFrom::End(0))?;
    let mut chunk = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        disk.seek(SeekFrom::Start(start))?;
        chunk.clear();
        Read::take(&mut *disk, end - start).read_to_end(&mut chunk)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A disk with so much room for bytes, which fails to sync and to cut as often as it is told to.
    #[derive(Default)]
    struct Faulty {
        bytes: Cursor<Vec<u8>>,
        room: usize,
        failing_syncs: u32,
        failing_cuts: u32,
    }

    fn fail(left: &mut u32) -> io::Result<()> {
        match left.checked_sub(1) {
            Some(rest) => {
                *left = rest;
                Err(io::Error::other("a bad disk"))
            }
            None => Ok(()),
        }
    }

    impl Read for Faulty {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.bytes.read(out)
        }
    }

    impl Write for Faulty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let at = usize::try_from(self.bytes.position()).unwrap();
            match self.room.saturating_sub(at).min(bytes.len()) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                some => self.bytes.write(&bytes[..some]),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Faulty {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.bytes.seek(to)
        }
    }

    impl Disk for Faulty {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            fail(&mut self.failing_cuts)?;
            self.bytes.get_mut().truncate(usize::try_from(length).unwrap());
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            fail(&mut self.failing_syncs)
        }
    }

    fn log(text: &str) -> Log<Faulty> {
        let bytes = Cursor::new(text.as_bytes().to_vec());
        Log::repair(Faulty { bytes, room: 20, ..Faulty::default() }).unwrap()
    }

    fn text(log: &Log<Faulty>) -> &str {
        std::str::from_utf8(log.disk.bytes.get_ref()).unwrap()
    }

    #[test]
    fn what_follows_the_last_whole_line_is_removed() {
        let long = format!("a\n{}", "x".repeat(3 * 64 * 1024));
        for (found, kept) in
            [("", ""), ("a\nb\n", "a\nb\n"), ("a\nb", "a\n"), ("torn", ""), ("\n", "\n"), (&long, "a\n")]
        {
            assert_eq!(text(&log(found)), kept);
        }
    }

    #[test]
    fn a_disk_that_is_full_keeps_no_half_of_a_line_and_takes_a_shorter_one() {
        let mut log = log("first\n");
        let error = log.append(b"a line that is too long\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(text(&log), "first\n");
        log.append(b"short\n").unwrap();
        assert_eq!(text(&log), "first\nshort\n");
    }

    #[test]
    fn a_line_whose_rest_cannot_be_removed_at_once_is_removed_before_the_next() {
        let mut log = log("first\n");
        log.disk.failing_syncs = 1;
        log.disk.failing_cuts = 2;
        log.append(b"lost\n").unwrap_err();
        assert_eq!(text(&log), "first\nlost\n");
        log.append(b"not yet\n").unwrap_err();
        log.append(b"b\n").unwrap();
        assert_eq!(text(&log), "first\nb\n");
    }

    #[test]
    fn a_file_is_ours_by_its_first_bytes() {
        for (found, is_ours) in [
            ("", true),
            ("{\"ver", true),
            ("{\"version\":9,…", true),
            ("{\"versions\"", false),
            ("root:x:0:0", false),
            ("\n", false),
        ] {
            assert_eq!(begins_as_ours(&mut Cursor::new(found)).unwrap(), is_ours, "{found}");
        }
    }
}
