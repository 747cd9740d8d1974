//! The suite that every store must pass, directly and behind a pooler of transactions.

use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_checkpoint_store_testkit::Place;
use eventhubs_test_harness::{PgBouncer, Postgres};

use crate::store_at;

async fn direct(place: Place) -> PostgresCheckpointStore {
    let server = Postgres::shared().await;
    server.create_database_named(place.name());
    store_at(server.port(), place.name())
}

async fn pooled(place: Place) -> PostgresCheckpointStore {
    direct(place.clone()).await;
    store_at(PgBouncer::shared().await.port(), place.name())
}

mod directly {
    eventhubs_checkpoint_store_testkit::conformance_tests!(super::direct);
}

mod behind_pgbouncer {
    use eventhubs_checkpoint_store_testkit::Capabilities;

    eventhubs_checkpoint_store_testkit::conformance_tests!(
        super::pooled,
        Capabilities::all().without_watch()
    );
}
