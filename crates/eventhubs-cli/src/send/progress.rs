//! How far a long run is, for whoever watches standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How long a run is silent at first, and between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Nothing, unless standard error is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    visible: bool,
    next: Duration,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { visible: io::stderr().is_terminal(), next: INTERVAL }
    }

    pub(super) fn show(&mut self, events: u64, elapsed: Duration) {
        if self.visible && elapsed >= self.next {
            // From now, so that a stall is followed by one line and not by all that were missed.
            self.next = elapsed + INTERVAL;
            #[expect(clippy::cast_precision_loss, reason = "a line for people")]
            let rate = events as f64 / elapsed.as_secs_f64();
            // over the line before; a terminal that is gone does not matter
            let _ = write!(io::stderr(), "\r\x1b[K{events} events, {rate:.0}/s");
        }
    }

    /// Leaves an empty line behind.
    pub(super) fn clear(&self) {
        if self.visible && self.next > INTERVAL {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
