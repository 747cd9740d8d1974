//! The clock that all processes of one machine share.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started.
///
/// # Panics
/// If the system has no monotonic clock.
pub fn nanos() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("POSIX demands this clock");
    u64::try_from(Duration::from(now).as_nanos()).expect("the machine was started less than 500 years ago")
}

/// Blocks this thread; the replayer and the stop-watch have threads of their own.
#[expect(clippy::disallowed_methods, reason = "no runtime runs on the threads that call this")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
