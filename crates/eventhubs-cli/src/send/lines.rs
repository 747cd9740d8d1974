//! Standard input, line by line.

use std::io::{self, BufRead, Read, stdin};
use std::thread;

use eventhubs_types::EventData;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;

/// The longest line that is read, in bytes: more than any event hub takes.
const MAX_LINE: u64 = 20 * 1024 * 1024;

/// How many lines are read ahead.
const AHEAD: usize = 1024;

/// Each line as an event. A body is bytes: nothing asks whether they are text.
///
/// A thread of its own reads. The blocking read of a runtime would keep the program from ending for as long as standard input stays
/// open.
pub(super) fn lines() -> BoxStream<'static, io::Result<EventData>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let mut input = stdin().lock();
        while let Some(line) = next_line(&mut input).transpose() {
            let is_last = line.is_err();
            if sender.blocking_send(line.map(EventData::new)).is_err() || is_last {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|line| (line, receiver)) })
        .boxed()
}

/// The next line without its end, which is `\n` or `\r\n`.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    // One more than is allowed, to tell a line of exactly that length from a longer one.
    if input.take(MAX_LINE + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 > MAX_LINE {
        let text = format!("standard input: a line has more than {MAX_LINE} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_stands_before_its_end() {
        let mut input = &b"one\r\n\n\xe9\xff\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"one"[..], b"", b"\xe9\xff", b"last"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut endless = io::repeat(b'x').take(MAX_LINE * 2);
        let mut endless = io::BufReader::new(&mut endless);
        assert_eq!(next_line(&mut endless).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
