//! Checkpoints that older SDKs left in the container: taken on request, and else a warning.

use std::sync::Arc;

use eventhubs_checkpoint_store::{CheckpointOutcome, CheckpointStore, Expected};
use eventhubs_checkpoint_store_blob::{BlobCheckpointStoreBuilder, Naming};
use eventhubs_test_harness::Azurite;

use crate::proxy::{Proxy, upload};
use crate::secrets::{Log, SAS};
use crate::{at, partition, scope, store_at};

const JSON: &str =
    r#"{"PartitionId":"3","Owner":"h","Token":"t","Epoch":5,"Offset":"4711","SequenceNumber":77}"#;

fn builder(port: u16, container: &str) -> BlobCheckpointStoreBuilder {
    crate::builder(&Azurite::connection_string_at(port), container)
}

#[tokio::test]
async fn the_checkpoint_of_a_processor_host_is_taken_on_request() {
    let (port, container) = (Azurite::shared().await.port(), Azurite::unused_container());
    let store = builder(port, &container).take_older_checkpoints().build().unwrap();
    store.create_container_if_absent().await.unwrap();
    assert_eq!(store.checkpoint(&scope(), &partition("3")).await.unwrap(), None);
    upload(&container, "$Default/3", JSON, SAS).await;
    let found = store.checkpoint(&scope(), &partition("3")).await.unwrap().unwrap();
    assert_eq!(found, at("3", "4711", 77));
    // It has no version here, so the first write creates the record.
    let written = store.update_checkpoint(&scope(), &at("3", "4800", 78), &Expected::Absent).await.unwrap();
    assert!(matches!(written, CheckpointOutcome::Written(_)));
    let found = store.checkpoint(&scope(), &partition("3")).await.unwrap().unwrap();
    assert_eq!(found.sequence_number, Some(78.into()));
}

#[tokio::test]
async fn each_layout_is_taken_on_request() {
    let port = Azurite::shared().await.port();
    for name in
        ["MyNamespace.servicebus.windows.net/MyHub/$Default/3", "dapr-MyHub-$Default-3", "3", "$default/3"]
    {
        let container = Azurite::unused_container();
        let store = builder(port, &container).take_older_checkpoints().build().unwrap();
        store.create_container_if_absent().await.unwrap();
        upload(&container, name, JSON, SAS).await;
        let found = store.checkpoint(&scope(), &partition("3")).await.unwrap();
        assert_eq!(found, Some(at("3", "4711", 77)), "{name}");
    }
}

#[tokio::test]
async fn a_checkpoint_in_the_case_of_go_is_taken_on_request() {
    let (port, container) = (Azurite::shared().await.port(), Azurite::unused_container());
    let go = builder(port, &container).naming(Naming::Verbatim).build().unwrap();
    go.create_container_if_absent().await.unwrap();
    go.update_checkpoint(&scope(), &at("3", "4711", 77), &Expected::Absent).await.unwrap();
    let ours = builder(port, &container).take_older_checkpoints().build().unwrap();
    assert_eq!(ours.checkpoint(&scope(), &partition("3")).await.unwrap(), Some(at("3", "4711", 77)));
}

#[tokio::test]
async fn without_the_request_one_warning_names_the_blob() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _recording = tracing::subscriber::set_default(Arc::new(subscriber));
    let (proxy, container) = (Proxy::start().await, Azurite::unused_container());
    let store = store_at(proxy.port, &container).await;
    upload(&container, "$Default/3", JSON, SAS).await;
    upload(&container, "$Default/4", JSON, SAS).await;
    proxy.take_seen();
    for id in ["0", "3", "4", "3"] {
        assert_eq!(store.checkpoint(&scope(), &partition(id)).await.unwrap(), None);
    }
    let told = log.text();
    let warnings: Vec<_> = told.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = warnings[..] else { panic!("{told}") };
    assert!(warning.contains("$Default/3") && warning.contains("take older checkpoints"), "{warning}");
    assert!(proxy.take_seen().len() <= 4 + 9, "the container is looked at once");
}

#[tokio::test]
async fn another_group_and_an_own_checkpoint_are_no_warning() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _recording = tracing::subscriber::set_default(Arc::new(subscriber));
    let container = Azurite::unused_container();
    let store = store_at(Azurite::shared().await.port(), &container).await;
    upload(&container, "$Default/3", JSON, SAS).await;
    upload(&container, "other/4", JSON, SAS).await;
    store.update_checkpoint(&scope(), &at("3", "1", 1), &Expected::Absent).await.unwrap();
    assert!(store.checkpoint(&scope(), &partition("3")).await.unwrap().is_some());
    assert_eq!(store.checkpoint(&scope(), &partition("4")).await.unwrap(), None);
    assert!(!log.text().contains("WARN"), "{}", log.text());
}
