//! Counts events in a SQLite file with diesel: `cargo run -p eventhubs-examples-transactions --example diesel`.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::{Arc, Mutex};

use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel::{Connection as _, QueryResult, RunQueryDsl as _, sql_query};
use eventhubs::store::TransactionalCheckpoint;
use eventhubs::{ConsumerClient, StartingPosition};
use eventhubs_checkpoint_store_sqlite::{
    ALREADY_DONE, Parameter, SqliteCheckpointStore, TransactionalCheckpointExt as _, WRITE_CHECKPOINT,
};
use tokio::sync::Semaphore;

/// Counts an event and writes its checkpoint: both, or neither.
fn count(connection: &mut SqliteConnection, checkpoint: &TransactionalCheckpoint) -> QueryResult<()> {
    let counted = connection.immediate_transaction(|connection| {
        let mut write = sql_query(WRITE_CHECKPOINT).into_boxed::<Sqlite>();
        for parameter in checkpoint.parameters() {
            write = match parameter {
                Parameter::Text(text) => write.bind::<Text, _>(text),
                Parameter::Integer(number) => write.bind::<BigInt, _>(number),
            };
        }
        write.execute(connection)?;
        sql_query("UPDATE total SET events = events + 1").execute(connection).map(drop)
    });
    match counted {
        // An earlier attempt has committed.
        Err(Error::DatabaseError(DatabaseErrorKind::Unknown, why)) if why.message() == ALREADY_DONE => Ok(()),
        counted => counted,
    }
}

#[derive(diesel::QueryableByName)]
struct Total {
    #[diesel(sql_type = BigInt)]
    events: i64,
}

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(2, 10).await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let mut connection = SqliteConnection::establish(&path.to_string_lossy())?;
    sql_query("CREATE TABLE total (events INTEGER)").execute(&mut connection)?;
    sql_query("INSERT INTO total VALUES (0)").execute(&mut connection)?;
    let store = SqliteCheckpointStore::builder(&path).allow_other_tables(true).open().await?;
    let (connection, handled) = (Arc::new(Mutex::new(connection)), Arc::new(Semaphore::new(0)));

    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default");
    let (counts, done) = (Arc::clone(&connection), Arc::clone(&handled));
    let receive = client.checkpoint_store(store).build()?.receive(move |context, event| {
        let (counts, done) = (Arc::clone(&counts), Arc::clone(&done));
        async move {
            let checkpoint = context.transactional_checkpoint(&event)?;
            // A transaction blocks its thread, so it is kept off those of the runtime.
            let counted = tokio::task::spawn_blocking(move || {
                let mut connection = counts.lock().map_err(|_| "a transaction panicked")?;
                count(&mut connection, &checkpoint).map_err(|error| error.to_string())
            });
            counted.await??;
            done.add_permits(1);
            Ok(())
        }
    });
    let stop = async move { handled.acquire_many(10).await.map(drop) };
    receive.starting_position(StartingPosition::Earliest).with_graceful_shutdown(stop).await?;

    let mut connection = connection.lock().map_err(|_| "a transaction panicked")?;
    let total: Total = sql_query("SELECT events FROM total").get_result(&mut *connection)?;
    println!("{} events are in the database", total.events);
    Ok(())
}
