//! How names are spelled, and what is said when another SDK spells them in another way.

use std::sync::Arc;

use eventhubs_checkpoint_store::{CheckpointStore, Expected};
use eventhubs_checkpoint_store_blob::{BlobCheckpointStore, Naming};
use eventhubs_test_harness::Azurite;

use crate::proxy::Proxy;
use crate::secrets::Log;
use crate::{claim, scope, won};

async fn store(port: u16, container: &str, naming: Naming) -> BlobCheckpointStore {
    let builder = crate::builder(&Azurite::connection_string_at(port), container);
    let store = builder.naming(naming).build().unwrap();
    store.create_container_if_absent().await.unwrap();
    store
}

#[tokio::test]
async fn verbatim_names_are_those_of_go_as_they_were_given() {
    let (proxy, container) = (Proxy::start().await, Azurite::unused_container());
    let store = store(proxy.port, &container, Naming::Verbatim).await;
    proxy.take_seen();
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    let line = proxy.take_seen().remove(0);
    let blob = "MyNamespace.servicebus.windows.net/MyHub/$Default/ownership/0";
    assert!(line.starts_with(&format!("PUT /devstoreaccount1/{container}/{blob} ")), "{line}");
    assert_eq!(store.list_ownership(&scope()).await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn records_in_another_spelling_are_a_warning_that_is_given_once() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _recording = tracing::subscriber::set_default(Arc::new(subscriber));
    let (azurite, container) = (Azurite::shared().await, Azurite::unused_container());
    let go = store(azurite.port(), &container, Naming::Verbatim).await;
    let ours = store(azurite.port(), &container, Naming::LowerCase).await;
    ours.list_ownership(&scope()).await.unwrap();
    assert!(!log.text().contains("spelling"), "there is nothing yet: {}", log.text());

    won(&go, &claim("0", Some("go"), Expected::Absent)).await;
    let ours = store(azurite.port(), &container, Naming::LowerCase).await;
    for _ in 0..3 {
        assert_eq!(ours.list_ownership(&scope()).await.unwrap().records, []);
    }
    let told = log.text();
    let warnings: Vec<_> = told.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = warnings[..] else { panic!("{told}") };
    for part in ["MyNamespace.servicebus.windows.net/MyHub/$Default/", "Verbatim", "both handle every event"]
    {
        assert!(warning.contains(part), "{warning}");
    }
}
