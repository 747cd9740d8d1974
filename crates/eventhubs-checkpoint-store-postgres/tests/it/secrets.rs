//! No password is shown.

use std::fmt::Debug;

use eventhubs_checkpoint_store::{CheckpointStore as _, Expected};
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_test_harness::Postgres;

use crate::{claim, scope};

const CANARY: &str = "c4n4ry";

#[track_caller]
fn assert_silent(shown: &impl Debug) {
    assert!(!format!("{shown:?}{shown:#?}").contains(CANARY), "{shown:?}");
}

#[tokio::test]
async fn neither_debug_nor_errors_show_the_password() {
    let right = Postgres::shared().await.connection_string("postgres");
    let builder =
        PostgresCheckpointStore::builder(&right.replace("password=password", &format!("password={CANARY}")));
    assert_silent(&builder);
    let store = builder.build().unwrap();
    assert_silent(&store);
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_silent(&error);
    assert!(!error.to_string().contains(CANARY), "{error}");
    assert_silent(&store.claim_ownership(&scope(), &claim("0", None, Expected::Absent)).await);
}
