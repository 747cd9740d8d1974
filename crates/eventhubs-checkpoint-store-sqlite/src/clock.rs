//! The clock of the store: that of the host, as SQLite reads it within the statement that writes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

/// The time now in milliseconds since 1970, as an expression. `unixepoch('subsec')` would be shorter, but is
/// NULL before SQLite 3.42, by which the application may write.
pub(crate) const NOW: &str = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)";

/// The time now in milliseconds since 1970. Within a transaction that writes: the lock is there, so that what
/// is written with it looks no older than it is.
pub(crate) fn now(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(&format!("SELECT {NOW}"))?.query_row([], |row| row.get(0))
}

/// A time from before 1970, which only a host with a wrong clock writes, counts as 1970.
pub(crate) fn time(milliseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
}
