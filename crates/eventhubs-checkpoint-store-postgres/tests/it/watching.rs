//! Hints: claims that announce themselves, on a connection that may be cut, or go through a pooler.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventhubs_checkpoint_store::{Audience, BoxStream, CheckpointStore as _, Claim, Expected, Hint};
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_test_harness::{PATIENCE, PgBouncer, until, within};
use eventhubs_types::OwnerId;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;
use tracing_subscriber::fmt::MakeWriter;

use crate::{claim, connect, partition, scope, store, store_at, version_of, won};

fn announced(id: &str, audience: Audience) -> Claim {
    claim(id, None, Expected::Absent).announcing(audience)
}

/// Announces claims of one partition after another until a hint comes, and returns that.
async fn hear(store: &PostgresCheckpointStore, hints: &mut BoxStream<'static, Hint>, prefix: &str) -> Hint {
    let heard = async {
        for count in 0.. {
            won(store, &announced(&format!("{prefix}{count}"), Audience::Everyone)).await;
            if let Ok(hint) = timeout(Duration::from_millis(100), hints.next()).await {
                return hint.unwrap();
            }
        }
        unreachable!("the numbers do not end");
    };
    within(PATIENCE, heard).await
}

#[tokio::test]
async fn a_hint_has_the_partition_and_the_addressee() {
    let (store, _) = store().await;
    let mut hints = store.watch(&scope());
    hear(&store, &mut hints, "first").await;
    let to = Audience::Owner(OwnerId::new("instance 7").unwrap());
    won(&store, &announced("0", to.clone())).await;
    let wanted = Hint::new(partition("0"), to);
    while within(PATIENCE, hints.next()).await.unwrap() != wanted {}
}

#[tokio::test]
async fn claims_without_an_announcement_notify_nobody() {
    let (store, database) = store().await;
    let mut hints = store.watch(&scope());
    hear(&store, &mut hints, "first").await;
    let record = won(&store, &claim("silent", Some("a"), Expected::Absent)).await;
    let record = won(&store, &claim("silent", Some("a"), version_of(&record))).await;
    won(&store, &claim("silent", None, version_of(&record))).await;
    store.fence(&scope(), &partition("silent")).await.unwrap();
    won(&store, &announced("last", Audience::Everyone)).await;
    loop {
        let hint = within(PATIENCE, hints.next()).await.unwrap();
        assert_ne!(hint.partition, partition("silent"));
        if hint.partition == partition("last") {
            break;
        }
    }
    drop(database);
}

#[tokio::test]
async fn a_connection_that_is_cut_listens_again() {
    let (store, database) = store().await;
    let mut hints = store.watch(&scope());
    hear(&store, &mut hints, "before").await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let rows = connect(&database).await.query_typed(cut, &[]).await.unwrap();
    assert!(rows[0].get::<_, i64>(0) >= 2, "the store and its listener");
    let mut retried = None;
    while retried.is_none() {
        retried = store.list_ownership(&scope()).await.ok();
    }
    while !hear(&store, &mut hints, "after").await.partition.as_str().starts_with("after") {}
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn behind_a_pooler_hints_are_silent_and_one_warning_says_so() {
    let lines = Lines::default();
    let log =
        tracing_subscriber::fmt().with_writer(lines.clone()).with_max_level(tracing::Level::WARN).finish();
    let _log = tracing::subscriber::set_default(log);
    let (_, database) = store().await;
    let store = store_at(PgBouncer::shared().await.port(), &database);
    let mut hints = store.watch(&scope());
    assert!(hints.next().now_or_never().is_none());
    until("a warning names the pooler", || lines.text().contains("PgBouncer")).await;
    won(&store, &announced("0", Audience::Everyone)).await;
    assert!(timeout(Duration::from_millis(300), hints.next()).await.is_err());
    assert_eq!(lines.text().matches("PgBouncer").count(), 1, "{}", lines.text());
}
