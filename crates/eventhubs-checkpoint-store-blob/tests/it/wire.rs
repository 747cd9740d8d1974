//! What is sent, byte for byte where others depend on it (docs/contract.md §9.4, §13.5).

use eventhubs_checkpoint_store::{CheckpointOutcome, CheckpointStore, Expected};
use eventhubs_test_harness::Azurite;

use crate::proxy::{Proxy, header};
use crate::{at, claim, partition, scope, store_at, version_of, won};

const HUB: &str = "mynamespace.servicebus.windows.net/myhub/$default";

struct Request(String);

impl Request {
    fn line(&self) -> &str {
        self.0.lines().next().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        header(&self.0, name)
    }
}

fn only(proxy: &Proxy) -> Request {
    let mut seen = proxy.take_seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    Request(seen.remove(0))
}

#[tokio::test]
async fn claims_are_the_requests_that_the_other_sdks_make() {
    let (proxy, container) = (Proxy::start().await, Azurite::unused_container());
    let store = store_at(proxy.port, &container).await;
    let blob = format!("/devstoreaccount1/{container}/{HUB}/ownership/0");
    proxy.take_seen();

    let first = won(&store, &claim("0", Some("Me"), Expected::Absent)).await;
    let create = only(&proxy);
    assert_eq!(create.line(), format!("PUT {blob} HTTP/1.1"));
    assert_eq!(create.header("if-none-match"), Some("*"));
    assert_eq!(create.header("x-ms-blob-type"), Some("BlockBlob"));
    assert_eq!(create.header("x-ms-meta-ownerid"), Some("Me"));
    assert_eq!(create.header("content-length"), Some("0"));

    let second = won(&store, &claim("0", Some("Me"), version_of(&first))).await;
    let renew = only(&proxy);
    assert_eq!(renew.line(), format!("PUT {blob}?comp=metadata HTTP/1.1"));
    assert_eq!(renew.header("if-match"), Some(&*format!("\"{}\"", first.version.as_str())));
    assert_eq!(renew.header("x-ms-meta-ownerid"), Some("Me"));

    won(&store, &claim("0", None, version_of(&second))).await;
    let release = only(&proxy);
    assert_eq!(release.line(), renew.line());
    assert_eq!(release.header("x-ms-meta-ownerid"), Some(""));
}

#[tokio::test]
async fn checkpoints_are_the_requests_that_the_other_sdks_make() {
    let (proxy, container) = (Proxy::start().await, Azurite::unused_container());
    let store = store_at(proxy.port, &container).await;
    let blob = format!("/devstoreaccount1/{container}/{HUB}/checkpoint/A1");
    proxy.take_seen();

    let written =
        store.update_checkpoint(&scope(), &at("A1", "3:1234:5678", 7), &Expected::Absent).await.unwrap();
    let CheckpointOutcome::Written(version) = written else { panic!("{written:?}") };
    let create = only(&proxy);
    assert_eq!(create.line(), format!("PUT {blob} HTTP/1.1"));
    assert_eq!(create.header("if-none-match"), Some("*"));
    assert_eq!(create.header("x-ms-meta-offset"), Some("3:1234:5678"));
    assert_eq!(create.header("x-ms-meta-sequencenumber"), Some("7"));

    let expected = Expected::Version(version.clone());
    store.update_checkpoint(&scope(), &at("A1", "900", 8), &expected).await.unwrap();
    let update = only(&proxy);
    assert_eq!(update.line(), format!("PUT {blob}?comp=metadata HTTP/1.1"));
    assert_eq!(update.header("if-match"), Some(&*format!("\"{}\"", version.as_str())));

    store.checkpoint(&scope(), &partition("A1")).await.unwrap();
    assert_eq!(only(&proxy).line(), format!("HEAD {blob} HTTP/1.1"));
}

#[tokio::test]
async fn listings_are_the_requests_that_the_other_sdks_make() {
    let (proxy, container) = (Proxy::start().await, Azurite::unused_container());
    let store = store_at(proxy.port, &container).await;
    // The first one also looks whether another SDK spells the names in another way.
    store.list_ownership(&scope()).await.unwrap();
    proxy.take_seen();
    store.list_ownership(&scope()).await.unwrap();
    assert_eq!(
        only(&proxy).line(),
        format!(
            "GET /devstoreaccount1/{container}?restype=container&comp=list\
             &prefix=mynamespace.servicebus.windows.net%2Fmyhub%2F%24default%2Fownership%2F\
             &include=metadata&maxresults=1000 HTTP/1.1"
        )
    );
    store.list_checkpoints(&scope()).await.unwrap();
    assert!(only(&proxy).line().contains("%24default%2Fcheckpoint%2F&"));
}
