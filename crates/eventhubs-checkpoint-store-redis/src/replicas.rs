//! Waiting until replicas have what was written, on a connection of its own: `WAIT` blocks the connection that it is
//! sent on.

use std::time::Duration;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};

use crate::error;
use crate::link::Link;
use crate::scripts::TOUCH;

/// How many replicas must have a write, and how long to wait for that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitForReplicas {
    pub(crate) count: usize,
    pub(crate) limit: Duration,
}

/// Who waits for the replicas.
#[derive(Debug)]
pub(crate) struct Replicas {
    link: Link,
    wait: WaitForReplicas,
}

/// A record as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Written<'a> {
    pub(crate) field: &'a str,
    pub(crate) version: &'a str,
}

impl Replicas {
    pub(crate) fn new(link: Link, wait: WaitForReplicas) -> Self {
        Self { link, wait }
    }

    /// Waits until enough replicas have these records of a hash. Returns for each whether it is still as written:
    /// another master, or another claim, may have changed it meanwhile.
    pub(crate) async fn confirm(
        &self,
        context: &'static str,
        key: &str,
        written: &[Written<'_>],
    ) -> Result<Vec<bool>> {
        // WAIT is about what its own connection wrote. The records were written on another one, so they are written
        // again on this one, as they are: what comes later in the stream to the replicas confirms what came before.
        // EVAL, not EVALSHA: a script that is not loaded would leave WAIT without a write to wait for.
        let mut touch = redis::cmd("EVAL");
        touch.arg(TOUCH).arg(1).arg(key);
        for record in written {
            touch.arg(record.field).arg(record.version);
        }
        let mut commands = redis::pipe();
        commands.add_command(touch).cmd("WAIT").arg(self.wait.count).arg(millis(self.wait.limit));
        let (held, count): (Vec<u8>, usize) = self.link.pipeline(context, &commands).await?;
        if count < self.wait.count {
            let text = format!(
                "{context}: {count} of {} replicas have it after {:?}; it may have been applied",
                self.wait.count, self.wait.limit
            );
            return Err(Error::new(ErrorKind::Timeout, text));
        }
        if held.len() != written.len() {
            return Err(error::answer(context, "the script returned another number of records"));
        }
        Ok(held.into_iter().map(|held| held == 1).collect())
    }
}

/// What was written is not there any more when the replicas have it.
pub(crate) fn overwritten(context: &'static str) -> Error {
    let text = format!("{context}: it was changed before the replicas had it; it may have been applied");
    Error::new(ErrorKind::Timeout, text)
}

fn millis(limit: Duration) -> u64 {
    // Zero means forever.
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1)
}
