//! The table of dead letters: which version of it there is, and how it gets there.
//!
//! It has a number of its own, since only those who use it want it, with or without whom the tables of the store are the
//! same.

use rusqlite::{Connection, TransactionBehavior};

use crate::clock;

/// The version of the table that this crate reads and writes.
pub(super) const VERSION: i64 = 1;

/// What leads from each version to the next one.
const MIGRATIONS: &[&str] = &[include_str!("1.sql")];

/// Creates the table, or brings it to the version that this crate knows; returns a later version as an error.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), i64>> {
    // Without the write lock first: a start must not wait for a transaction of the application.
    if version(connection)? == VERSION {
        return Ok(Ok(()));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    let missing = usize::try_from(found).ok().and_then(|version| MIGRATIONS.get(version..));
    let Some(missing) = missing else { return Ok(Err(found)) };
    for sql in missing {
        transaction.execute_batch(sql)?;
    }
    let sql = "INSERT OR IGNORE INTO eventhubs_dead_letter_schema (version, applied) VALUES (?1, ?2)";
    transaction.execute(sql, [VERSION, clock::now(&transaction)?])?;
    transaction.commit().map(Ok)
}

/// 0 where there is no table yet.
fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM sqlite_master WHERE name = 'eventhubs_dead_letter_schema'";
    if connection.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(0);
    }
    let sql = "SELECT coalesce(max(version), 0) FROM eventhubs_dead_letter_schema";
    connection.query_row(sql, [], |row| row.get(0))
}
