//! The PostgreSQL store against a real server, directly and behind PgBouncer.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod conformance;

use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_test_harness::Postgres;

/// A store in this database of the shared server, through whatever listens on the port.
fn store_at(port: u16, database: &str) -> PostgresCheckpointStore {
    let connection_string = Postgres::connection_string_at(port, database);
    PostgresCheckpointStore::from_connection_string(&connection_string).unwrap()
}
