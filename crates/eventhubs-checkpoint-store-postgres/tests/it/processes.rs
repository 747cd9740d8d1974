//! Several processes on one database.

use eventhubs_checkpoint_store::Expected;
use eventhubs_checkpoint_store_postgres::{PostgresCheckpointStore, SCHEMA_VERSION};
use eventhubs_test_harness::{Begun, Postgres, again, assert_all_succeed, begin, begun};

use crate::{claim, connect, won};

/// Tasks of one process begin one after the other; of processes, several find that there is no schema.
#[test]
fn sixteen_processes_start_at_once_on_an_empty_database() {
    const TEST: &str = "processes::sixteen_processes_start_at_once_on_an_empty_database";
    match begun() {
        Some(begun) => start_and_claim(&begun),
        None => start_sixteen(TEST),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn start_and_claim(begun: &Begun) {
    let store = PostgresCheckpointStore::from_connection_string(&begun.place).unwrap();
    won(&store, &claim(&begun.number.to_string(), Some("a"), Expected::Absent)).await;
}

#[tokio::main]
async fn start_sixteen(test: &'static str) {
    let server = Postgres::shared().await;
    for _ in 0..5 {
        let database = server.create_database();
        let place = server.connection_string(&database);
        let starting = tokio::task::spawn_blocking(move || {
            let mut processes: Vec<_> = (0..16).map(|number| again(test, &place, number)).collect();
            let outputs = begin(&mut processes);
            assert_all_succeed(processes);
            drop(outputs);
        });
        starting.await.unwrap();
        let client = connect(&database).await;
        let count = async |sql| client.query_typed(sql, &[]).await.unwrap()[0].get::<_, i64>(0);
        let versions = format!("SELECT count(*) FROM eventhubs.migration WHERE version = {SCHEMA_VERSION}");
        assert_eq!(count(&versions).await, 1);
        assert_eq!(count("SELECT count(*) FROM eventhubs.migration").await, 1);
        assert_eq!(count("SELECT count(*) FROM eventhubs.ownership").await, 16);
    }
}
