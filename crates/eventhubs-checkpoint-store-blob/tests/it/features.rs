//! Features of an account that change what happens to blobs, where Azurite has none of them: as Azure answers
//! then.

use std::sync::Arc;

use eventhubs_checkpoint_store::{CheckpointStore, ClaimOutcome, ErrorKind, Expected};
use eventhubs_test_harness::Azurite;

use crate::proxy::{Plan, Proxy};
use crate::secrets::Log;
use crate::{at, claim, partition, scope, store_at, version_of, won};

#[tokio::test]
async fn versioning_is_a_warning_that_is_given_once() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _recording = tracing::subscriber::set_default(Arc::new(subscriber));
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let versioned = || Plan::Replace("x-ms-version-id", "2026-01-01T00:00:00.0000000Z");
    proxy.plan([versioned(), versioned(), versioned()]);
    let first = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    won(&store, &claim("0", Some("me"), version_of(&first))).await;
    store.update_checkpoint(&scope(), &at("0", "1", 1), &Expected::Absent).await.unwrap();
    let told = log.text();
    assert_eq!(told.matches("blob versioning is on").count(), 1, "{told}");
}

#[tokio::test]
async fn what_cannot_work_ends_with_an_error_that_names_it() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let owned = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    for (code, name) in [
        ("BlobImmutableDueToPolicy", "immutability policy"),
        ("BlobArchived", "archive tier"),
        ("BlobBeingRehydrated", "archive tier"),
    ] {
        proxy.take_seen();
        proxy.plan([Plan::Answer(Plan::refusal("409 Conflict", code, ""))]);
        let outcome = store.claim_ownership(&scope(), &claim("0", Some("me"), version_of(&owned))).await;
        let ClaimOutcome::Failed(error) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("/ownership/0"), "{text}");
        assert_eq!(proxy.take_seen().len(), 1, "it is not tried again");
    }
}

/// With soft delete on, a deleted blob makes room for a new one, and is in no listing.
#[tokio::test]
async fn soft_delete_leaves_room_for_a_new_record() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let owned = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    proxy.plan([Plan::Replace("x-ms-delete-type-permanent", "false")]);
    store.delete_ownership(&scope(), &partition("0"), &owned.version).await.unwrap();
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    // Nothing that is written replaces a blob: that would leave a deleted one each time.
    let record = store.list_ownership(&scope()).await.unwrap().records.remove(0);
    proxy.take_seen();
    won(&store, &claim("0", Some("me"), version_of(&record))).await;
    assert!(proxy.take_seen()[0].contains("?comp=metadata "));
}

#[tokio::test]
async fn the_directories_of_a_hierarchical_namespace_are_no_records() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let prefix = "mynamespace.servicebus.windows.net/myhub/$default/ownership";
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>\
         <Blob><Name>{prefix}</Name><Properties><Etag>0x1</Etag><ResourceType>directory</ResourceType></Properties></Blob>\
         <Blob><Name>{prefix}/x</Name><Properties><Etag>0x2</Etag></Properties>\
         <Metadata><hdi_isfolder>true</hdi_isfolder></Metadata></Blob>\
         <Blob><Name>{prefix}/0</Name><Properties><Etag>0x3</Etag><ResourceType>file</ResourceType></Properties>\
         <Metadata><ownerid>me</ownerid></Metadata></Blob>\
         </Blobs><NextMarker/></EnumerationResults>"
    );
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}", page.len());
    proxy.plan([Plan::Answer(answer.into())]);
    let list = store.list_ownership(&scope()).await.unwrap();
    assert_eq!((list.records.len(), list.rejected.len()), (1, 0), "{list:?}");
    assert_eq!(list.records[0].partition, partition("0"));
}
