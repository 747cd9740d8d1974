//! What ownership records and checkpoints have in common: their key, their versions, and how much is listed.

use std::fmt::Display;

use eventhubs_checkpoint_store::{Error, ErrorKind, Expected, Result, Version};
use eventhubs_types::{ConsumerScope, PartitionId};
use rusqlite::{Connection, Row};

/// The most records of a scope that a listing reads; the largest event hub has 2000 partitions.
pub const MAX_LISTED: usize = 8 * 1024;

/// The longest mark and the longest offset that the tables take, in bytes.
const MAX_TEXT: usize = 4096;

/// The condition of every statement on one scope: parameters 1 to 3.
pub(crate) const IN_SCOPE: &str = "namespace = ?1 AND event_hub = ?2 AND consumer_group = ?3";

/// The condition of every statement on one record: parameters 1 to 4.
pub(crate) const IS_RECORD: &str =
    "namespace = ?1 AND event_hub = ?2 AND consumer_group = ?3 AND partition_id = ?4";

/// The names of a scope, in the order of the parameters.
pub(crate) fn names(scope: &ConsumerScope) -> [&str; 3] {
    [scope.namespace.as_str(), scope.event_hub.as_str(), scope.consumer_group.as_str()]
}

/// Takes this many new versions. Returns the first; the others follow it.
pub(crate) fn new_versions(connection: &Connection, count: usize) -> rusqlite::Result<i64> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let sql = "UPDATE eventhubs_counter SET value = value + ?1 RETURNING value";
    let last: i64 = connection.prepare_cached(sql)?.query_row([count], |row| row.get(0))?;
    Ok(last - count + 1)
}

/// What a record must be for a write.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    Absent,
    Version(i64),
    /// The version of another store, which no record has.
    Never,
}

impl From<&Expected> for Wanted {
    fn from(expected: &Expected) -> Self {
        match expected {
            Expected::Absent => Self::Absent,
            Expected::Version(version) => number(version).map_or(Self::Never, Self::Version),
        }
    }
}

/// The number that a version of this store is, in the one spelling that it has.
pub(crate) fn number(version: &Version) -> Option<i64> {
    version.as_str().parse().ok().filter(|number: &i64| number.to_string() == version.as_str())
}

pub(crate) fn version(number: i64) -> Version {
    Version::new(number.to_string())
}

/// The text of a column, whatever was written there; `None` where it is NULL.
pub(crate) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    let value = row.get_ref(column)?;
    // A STRICT table has text here, but nothing makes it UTF-8.
    Ok(value.as_bytes_or_null().ok().flatten().map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// The partition in a column, or the name and reason to report.
pub(crate) fn partition(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<std::result::Result<PartitionId, (String, String)>> {
    let name = text(row, column)?.unwrap_or_default();
    let checked = if name.contains(char::REPLACEMENT_CHARACTER) {
        Err("the partition id may not be UTF-8".to_owned())
    } else {
        PartitionId::new(&name).map_err(|error| error.to_string())
    };
    Ok(checked.map_err(|reason| (name, reason)))
}

/// Refuses a text that the tables do not take.
pub(crate) fn check_length(field: impl Display, text: &str) -> Result<()> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    let reason = format!("{field}: {} bytes are more than the {MAX_TEXT} that the store takes", text.len());
    Err(Error::new(ErrorKind::InvalidArgument, reason))
}
