//! The tables in the file: which version of them there is, and how they get there.

use std::path::Path;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::{clock, error};

/// The version of the tables that this crate reads and writes.
pub const SCHEMA_VERSION: i64 = 1;

/// What SQLite and `file(1)` know a file of this store by: `EHUC` in ASCII.
pub const APPLICATION_ID: i64 = 0x4548_5543;

/// What leads from each version to the next one.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql")];

/// What is in a file before this crate changes anything in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    Nothing,
    /// The tables of this store, in this version.
    Store(i64),
    /// Tables of an application, or the application's id.
    Other,
}

impl Contents {
    /// 0 where there are no tables yet.
    fn version(self) -> i64 {
        if let Self::Store(version) = self { version } else { 0 }
    }
}

/// Creates the tables, or brings them to the version that this crate knows.
///
/// The version is in a table and not in `user_version`, for the file may be one of an application, and
/// migration tools keep their own number there.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    // Without the write lock first: a start must not wait for a transaction of the application.
    if contents(connection).map_err(failed)? == Contents::Store(SCHEMA_VERSION) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found = contents(&transaction).map_err(failed)?;
    let Some(missing) = missing(found) else { return Err(too_new(path, found)) };
    apply(&transaction, found, missing).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Fails if this is the file of another program, or of a later version of this crate. Changes nothing.
pub(crate) fn check(connection: &Connection, path: &Path, allows_other_tables: bool) -> Result<()> {
    match contents(connection).map_err(failed)? {
        Contents::Other if !allows_other_tables => {
            let text = format!(
                "path: {} is a database of another program; `allow_other_tables` keeps checkpoints in it",
                path.display()
            );
            Err(Error::new(ErrorKind::InvalidArgument, text))
        }
        found if missing(found).is_none() => Err(too_new(path, found)),
        _ => Ok(()),
    }
}

fn apply(transaction: &Transaction<'_>, found: Contents, missing: &[&str]) -> rusqlite::Result<()> {
    for sql in missing {
        transaction.execute_batch(sql)?;
    }
    if found == Contents::Nothing {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    let sql =
        format!("INSERT OR IGNORE INTO eventhubs_schema (version, applied) VALUES (?1, {})", clock::NOW);
    transaction.execute(&sql, [SCHEMA_VERSION]).map(drop)
}

/// Returns `None` if the tables are of a later version.
fn missing(found: Contents) -> Option<&'static [&'static str]> {
    usize::try_from(found.version()).ok().and_then(|version| MIGRATIONS.get(version..))
}

fn contents(connection: &Connection) -> rusqlite::Result<Contents> {
    // One statement, for another process may create the tables between two of them.
    let sql = "SELECT count(*), count(*) FILTER (WHERE name = 'eventhubs_schema'),
        (SELECT application_id FROM pragma_application_id) FROM sqlite_master";
    let (tables, own, application) = connection
        .query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?)))?;
    if own > 0 {
        let sql = "SELECT coalesce(max(version), 0) FROM eventhubs_schema";
        return connection.query_row(sql, [], |row| row.get(0)).map(Contents::Store);
    }
    let is_empty = tables == 0 && [0, APPLICATION_ID].contains(&application);
    Ok(if is_empty { Contents::Nothing } else { Contents::Other })
}

fn too_new(path: &Path, found: Contents) -> Error {
    let text = format!(
        "{} has version {} of the tables, and this crate knows {SCHEMA_VERSION} and lower: upgrade it",
        path.display(),
        found.version()
    );
    Error::new(ErrorKind::Protocol, text)
}

fn failed(source: rusqlite::Error) -> Error {
    error::of("read or create the tables", source)
}
