//! The wait for the lock of another connection.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::Instant;

/// The pause between two tries. SQLite's own wait pauses for up to 100 ms, so that others come first all the
/// time: of a hundred claims next to four writers that never rest, one took 1.9 s, and takes 0.05 s with
/// this.
const PAUSE: Duration = Duration::from_millis(1);

thread_local! {
    /// When this thread gives up. SQLite calls a plain function back, which cannot be told in another way.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Has the connection wait for locks until the [deadline](set_deadline) of the thread that uses it.
pub(crate) fn install(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(waits))
}

/// Says until when this thread waits for a lock. Until it is said, there is no wait.
pub(crate) fn set_deadline(deadline: Instant) {
    DEADLINE.set(Some(deadline));
}

#[expect(clippy::disallowed_methods, reason = "this is the thread of a store, which no runtime runs on")]
fn waits(_tries: i32) -> bool {
    let is_early = DEADLINE.get().is_some_and(|deadline| Instant::now() < deadline);
    if is_early {
        thread::sleep(PAUSE);
    }
    is_early
}
