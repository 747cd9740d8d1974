//! What an error of SQLite means to the caller of a store.

use std::borrow::Cow;

use eventhubs_checkpoint_store::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// The error with its kind; `context` says what was tried.
pub(crate) fn of(context: impl Into<Cow<'static, str>>, source: rusqlite::Error) -> Error {
    Error::new(kind(&source), context).with_source(source)
}

fn kind(error: &rusqlite::Error) -> ErrorKind {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) if text.starts_with("no such table") => {
            ErrorKind::NotFound
        }
        rusqlite::Error::SqlInputError { msg, .. } if msg.starts_with("no such table") => ErrorKind::NotFound,
        other => other.sqlite_error_code().map_or(ErrorKind::Protocol, kind_of_code),
    }
}

fn kind_of_code(code: ErrorCode) -> ErrorKind {
    match code {
        // SQLite has waited for as long as the call may take.
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OperationInterrupted => {
            ErrorKind::Timeout
        }
        // A full disk, and a disk that fails, may be well again later; a write that met it is rolled back.
        ErrorCode::DiskFull
        | ErrorCode::SystemIoFailure
        | ErrorCode::OutOfMemory
        | ErrorCode::FileLockingProtocolFailed => ErrorKind::Unavailable,
        ErrorCode::PermissionDenied
        | ErrorCode::ReadOnly
        | ErrorCode::CannotOpen
        | ErrorCode::AuthorizationForStatementDenied => ErrorKind::Unauthorized,
        _ => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// SQLite says the same at its own limit of pages as on a full disk.
    #[test]
    fn a_full_disk_is_transient_and_says_so() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE filler (bytes BLOB); PRAGMA max_page_count = 10").unwrap();
        let full = connection.execute("INSERT INTO filler VALUES (zeroblob(100000))", []).unwrap_err();
        let error = of("write a checkpoint", full);
        assert!(error.is_transient());
        let text = error.to_string();
        assert!(
            text.starts_with("the store cannot be reached: write a checkpoint: database or disk is full")
        );
    }
}
