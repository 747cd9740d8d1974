//! Counts events in PostgreSQL with sqlx: `cargo run -p eventhubs-examples-transactions --example sqlx -- URL`.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::env;
use std::sync::Arc;

use eventhubs::store::TransactionalCheckpoint;
use eventhubs::{ConsumerClient, StartingPosition};
use eventhubs_checkpoint_store_postgres::{ALREADY_DONE, PostgresCheckpointStore};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::Semaphore;

/// Counts an event and writes its checkpoint: both, or neither.
async fn count(
    pool: &PgPool,
    store: &PostgresCheckpointStore,
    checkpoint: &TransactionalCheckpoint,
) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    let statement = store.checkpoint_statement(checkpoint);
    let write = sqlx::query(AssertSqlSafe(statement.sql))
        .bind(statement.namespace)
        .bind(statement.event_hub)
        .bind(statement.consumer_group)
        .bind(statement.partition)
        .bind(statement.epoch)
        .bind(statement.offset)
        .bind(statement.sequence_number);
    match write.execute(&mut *transaction).await {
        // An earlier attempt has committed.
        Err(sqlx::Error::Database(why)) if why.code().as_deref() == Some(ALREADY_DONE) => return Ok(()),
        written => written?,
    };
    sqlx::query("UPDATE total SET events = events + 1").execute(&mut *transaction).await?;
    transaction.commit().await
}

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let Some(url) = env::args().nth(1) else {
        println!("usage: sqlx postgres://USER:PASSWORD@HOST/DATABASE");
        return Ok(());
    };
    let emulator = eventhubs_examples::orders(2, 10).await?;
    let pool = PgPool::connect(&url).await?;
    sqlx::query("CREATE TABLE total (events bigint)").execute(&pool).await?;
    sqlx::query("INSERT INTO total VALUES (0)").execute(&pool).await?;
    let store = PostgresCheckpointStore::from_connection_string(&url)?;
    let handled = Arc::new(Semaphore::new(0));

    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default");
    let (counts, done) = (pool.clone(), Arc::clone(&handled));
    let receive = client.checkpoint_store(store.clone()).build()?.receive(move |context, event| {
        let (counts, store, done) = (counts.clone(), store.clone(), Arc::clone(&done));
        async move {
            count(&counts, &store, &context.transactional_checkpoint(&event)?).await?;
            done.add_permits(1);
            Ok(())
        }
    });
    let stop = async move { handled.acquire_many(10).await.map(drop) };
    receive.starting_position(StartingPosition::Earliest).with_graceful_shutdown(stop).await?;

    let total: i64 = sqlx::query_scalar("SELECT events FROM total").fetch_one(&pool).await?;
    println!("{total} events are in the database");
    Ok(())
}
