//! What the SDK does not get to spoil.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventhubs_checkpoint_store::{CheckpointStore, ErrorKind, Expected};
use eventhubs_test_harness::Azurite;

use crate::proxy::{Plan, Proxy, count_connections};
use crate::{claim, scope, store_at, version_of, won};

#[tokio::test]
async fn requests_share_a_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let port = count_connections(Arc::clone(&connections)).await;
    let store = store_at(port, &Azurite::unused_container()).await;
    let mut record = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    for _ in 0..10 {
        record = won(&store, &claim("0", Some("me"), version_of(&record))).await;
        store.list_ownership(&scope()).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_is_good_even_if_the_sdk_cannot_read_it() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    proxy.take_seen();
    proxy.plan([Plan::Replace("x-ms-request-id", "no-uuid")]);
    let first = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    proxy.plan([Plan::Replace("date", "yesterday")]);
    won(&store, &claim("0", Some("me"), version_of(&first))).await;
    assert_eq!(proxy.take_seen().len(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (proxy, elsewhere) = (Proxy::start().await, Proxy::start().await);
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let location = format!("location: http://127.0.0.1:{}/\r\n", elsewhere.port);
    proxy.plan([Plan::status("302 Found", &location)]);
    assert_eq!(store.list_ownership(&scope()).await.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(elsewhere.take_seen(), [""; 0]);
}

#[tokio::test]
async fn an_endless_page_is_not_read_to_its_end() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n<EnumerationResults>".to_vec();
    answer.resize(20 * 1024 * 1024, b' ');
    proxy.plan([Plan::Answer(answer)]);
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("too long"), "{error}");
}

#[tokio::test]
async fn a_page_that_is_no_listing_is_a_protocol_error() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 33\r\n\r\n<html>a captive portal</html>    ";
    proxy.plan([Plan::Answer(page.into())]);
    assert_eq!(store.list_ownership(&scope()).await.unwrap_err().kind(), ErrorKind::Protocol);
}
