//! The time of the broker; the only place that reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::sleep;

/// The wall clock, moved ahead by as much as tests want. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    ahead_ms: watch::Sender<i64>,
}

impl Clock {
    /// Now, in milliseconds since 1970: the unit of every time on the wire.
    #[expect(
        clippy::disallowed_methods,
        reason = "the broker stamps events and judges tokens by the wall clock"
    )]
    pub(crate) fn now_ms(&self) -> i64 {
        to_ms(SystemTime::now()).saturating_add(*self.ahead_ms.borrow())
    }

    /// Moves the clock ahead, and wakes who waits for a time that this passes.
    pub(crate) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.ahead_ms.send_modify(|ahead| *ahead = ahead.saturating_add(by));
    }

    /// Returns as soon as it is this late.
    pub(crate) async fn reaches(&self, ms: i64) {
        let mut jumps = self.ahead_ms.subscribe();
        while let Ok(left @ 1..) = u64::try_from(ms.saturating_sub(self.now_ms())) {
            tokio::select! {
                // without another look at the wall clock, which a paused runtime leaves behind
                () = sleep(Duration::from_millis(left)) => return,
                // the sender lives in self, so this is a jump
                _ = jumps.changed() => {}
            }
        }
    }
}

pub(crate) fn to_ms(time: SystemTime) -> i64 {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => ms(after),
        Err(before) => -ms(before.duration()),
    }
}

/// `None` when the platform cannot represent the time.
pub(crate) fn from_ms(ms: i64) -> Option<SystemTime> {
    let distance = Duration::from_millis(ms.unsigned_abs());
    if ms < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}
