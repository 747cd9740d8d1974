//! The PostgreSQL store against a real server, directly and behind PgBouncer.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod claims;
mod conformance;
mod dead_letters;
mod opening;
mod outages;
mod processes;
mod secrets;
mod tls;
mod transactions;
mod waiting;
mod watching;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointStore, Claim, ClaimOutcome, Expected, FenceToken, Ownership,
};
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_checkpoint_store_postgres::tokio_postgres::{self, Client, NoTls};
use eventhubs_test_harness::Postgres;
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};

/// A store in this database of the shared server, through whatever listens on the port.
fn store_at(port: u16, database: &str) -> PostgresCheckpointStore {
    let connection_string = Postgres::connection_string_at(port, database);
    PostgresCheckpointStore::from_connection_string(&connection_string).unwrap()
}

/// A store in a database of its own, and the name of that.
async fn store() -> (PostgresCheckpointStore, String) {
    let server = Postgres::shared().await;
    let database = server.create_database();
    (store_at(server.port(), &database), database)
}

/// A connection of the application to a database of the shared server.
async fn connect(database: &str) -> Client {
    connect_at(Postgres::shared().await.port(), database).await
}

async fn connect_at(port: u16, database: &str) -> Client {
    let connection_string = Postgres::connection_string_at(port, database);
    let (client, connection) = tokio_postgres::connect(&connection_string, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn scope() -> ConsumerScope {
    ConsumerScope::new("N.example.net".parse().unwrap(), "Hub".parse().unwrap(), "Group".parse().unwrap())
}

fn partition(id: &str) -> PartitionId {
    id.parse().unwrap()
}

fn claim(id: &str, owner: Option<&str>, expected: Expected) -> Claim {
    Claim::new(partition(id), owner.map(|owner| OwnerId::new(owner).unwrap()), expected)
}

fn version_of(record: &Ownership) -> Expected {
    Expected::Version(record.version.clone())
}

async fn won(store: &PostgresCheckpointStore, claim: &Claim) -> Ownership {
    match store.claim_ownership(&scope(), claim).await {
        ClaimOutcome::Won(record) => record,
        other => panic!("{claim:?}: {other:?}"),
    }
}

/// Begins an ownership of partition 0; also the sequence number of the checkpoint.
async fn fence(store: &PostgresCheckpointStore) -> (FenceToken, Option<i64>) {
    let fenced = store.fence(&scope(), &partition("0")).await.unwrap();
    (fenced.token.unwrap(), number(fenced.checkpoint.as_ref()))
}

fn number(checkpoint: Option<&Checkpoint>) -> Option<i64> {
    checkpoint.map(|checkpoint| checkpoint.sequence_number.unwrap().value())
}

async fn sequence_number(store: &PostgresCheckpointStore) -> Option<i64> {
    number(store.checkpoint(&scope(), &partition("0")).await.unwrap().as_ref())
}
