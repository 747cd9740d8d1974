//! The version of the storage API, before a service that knows one only.

use eventhubs_checkpoint_store::{CheckpointStore, ErrorKind, Expected};
use eventhubs_checkpoint_store_blob::{BlobCheckpointStore, BlobCheckpointStoreBuilder};
use eventhubs_test_harness::Azurite;

use crate::errors::all_errors;
use crate::proxy::{Plan, Proxy, header};
use crate::secrets::SAS;
use crate::{at, claim, partition, scope, version_of, won};

/// Refuses all versions but this one as Azure does.
async fn proxy_for(version: &'static str) -> Proxy {
    let proxy = Proxy::start().await;
    proxy.guard(move |head| match header(&head, "x-ms-version") {
        Some(asked) if asked == version => Ok(head),
        asked => {
            let value = asked.unwrap_or_default();
            let detail = format!("<HeaderName>x-ms-version</HeaderName><HeaderValue>{value}</HeaderValue>");
            let mut refusal = Plan::refusal("400 Bad Request", "InvalidHeaderValue", &detail);
            if head.starts_with("HEAD") {
                let end = refusal.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
                refusal.truncate(end + 4);
            }
            Err(refusal)
        }
    });
    proxy
}

fn builder(port: u16) -> BlobCheckpointStoreBuilder {
    crate::builder(&Azurite::connection_string_at(port), &Azurite::unused_container())
}

async fn use_all(store: &BlobCheckpointStore) {
    store.create_container_if_absent().await.unwrap();
    let first = won(store, &claim("0", Some("me"), Expected::Absent)).await;
    won(store, &claim("0", Some("me"), version_of(&first))).await;
    store.update_checkpoint(&scope(), &at("0", "100", 7), &Expected::Absent).await.unwrap();
    assert_eq!(store.list_ownership(&scope()).await.unwrap().records.len(), 1);
    let read = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    assert_eq!(read.sequence_number, Some(7.into()));
}

#[tokio::test]
async fn azure_stack_hub_is_asked_for_a_version_that_it_knows() {
    for version in ["2017-11-09", "2019-07-07", "2021-12-02", "2022-11-02"] {
        let proxy = proxy_for(version).await;
        use_all(&builder(proxy.port).api_version(version).build().unwrap()).await;
    }
}

#[tokio::test]
async fn a_signature_goes_with_any_version() {
    let proxy = proxy_for("2019-07-07").await;
    let text =
        format!("BlobEndpoint=http://127.0.0.1:{}/devstoreaccount1;SharedAccessSignature={SAS}", proxy.port);
    let builder = crate::builder(&text, &Azurite::unused_container());
    use_all(&builder.api_version("2019-07-07").build().unwrap()).await;
}

#[tokio::test]
async fn a_version_that_the_service_does_not_know_is_named() {
    let proxy = proxy_for("2019-07-07").await;
    for (builder, version) in
        [(builder(proxy.port), "2022-11-02"), (builder(proxy.port).api_version("2099-01-01"), "2099-01-01")]
    {
        for error in all_errors(&builder.build().unwrap()).await {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(!error.is_transient());
            let text = error.to_string();
            assert!(text.contains(&format!("version {version}")) && text.contains("api_version"), "{text}");
        }
    }
}

#[tokio::test]
async fn azurite_itself_refuses_a_version_of_the_future_by_name() {
    let store = builder(Azurite::shared().await.port()).api_version("2099-01-01").build().unwrap();
    let error = store.create_container_if_absent().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("version 2099-01-01"), "{error}");
}

#[test]
fn what_is_no_version_is_refused_without_io() {
    let error = builder(1).api_version("latest").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("api_version"), "{error}");
}
