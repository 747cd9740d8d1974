//! Shared access signatures and keys that are exchanged while the store is in use, and URLs that hold one.

use eventhubs_checkpoint_store::{CheckpointStore, ErrorKind, Expected, async_trait};
use eventhubs_test_harness::Azurite;
use eventhubs_types::{AccessToken, TokenCredential, TokenError};

use crate::proxy::{Plan, Proxy};
use crate::secrets::SAS;
use crate::{claim, scope, version_of, won};

const EXPIRED: &str =
    "?sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2001-01-01T00%3A00%3A00Z&sig=ZXhwaXJlZA%3D%3D";

fn url(port: u16, signature: &str) -> String {
    let (container, signature) = (Azurite::unused_container(), signature.trim_start_matches('?'));
    format!("http://127.0.0.1:{port}/devstoreaccount1/{container}?{signature}")
}

#[tokio::test]
async fn a_url_of_a_container_opens_it() {
    let store = crate::with_sas_url(&url(Azurite::shared().await.port(), SAS)).build().unwrap();
    store.create_container_if_absent().await.unwrap();
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    assert_eq!(store.list_ownership(&scope()).await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn an_expired_signature_is_exchanged_for_all_clones() {
    let store = crate::with_sas_url(&url(Azurite::shared().await.port(), EXPIRED)).build().unwrap();
    let clone = store.clone();
    assert_eq!(store.create_container_if_absent().await.unwrap_err().kind(), ErrorKind::Unauthorized);
    clone.update_shared_access_signature(&format!("?{SAS}")).unwrap();
    store.create_container_if_absent().await.unwrap();
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
}

#[tokio::test]
async fn a_request_that_the_exchange_overtakes_is_sent_again() {
    let proxy = Proxy::start().await;
    let store = crate::with_sas_url(&url(proxy.port, EXPIRED)).build().unwrap();
    let clone = store.clone();
    proxy.guard(move |head| {
        let refuses = head.contains("ZXhwaXJlZA");
        if refuses {
            clone.update_shared_access_signature(SAS).unwrap();
        }
        let refusal = || Plan::refusal("403 Forbidden", "AuthenticationFailed", "");
        if refuses { Err(refusal()) } else { Ok(head) }
    });
    store.create_container_if_absent().await.unwrap();
    assert_eq!(proxy.take_seen().len(), 2);
}

#[tokio::test]
async fn a_key_is_exchanged_for_another_or_for_a_signature() {
    let port = Azurite::shared().await.port();
    let good = Azurite::connection_string_at(port);
    let bad = good.replace("AccountKey=Eby8", "AccountKey=AAAA");
    let store = crate::open(&bad, &Azurite::unused_container()).unwrap();
    assert_eq!(store.create_container_if_absent().await.unwrap_err().kind(), ErrorKind::Unauthorized);
    store.update_connection_string(&good).unwrap();
    store.create_container_if_absent().await.unwrap();
    let first = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    store.update_shared_access_signature(SAS).unwrap();
    won(&store, &claim("0", Some("me"), version_of(&first))).await;
}

#[test]
fn what_is_no_signature_is_refused_and_not_repeated() {
    for bad in ["", "?", "canary", "sv=1&sig=", "sig=&sv=canary"] {
        let store = crate::with_sas_url(&url(1, SAS)).build().unwrap();
        let error = store.update_shared_access_signature(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

#[test]
fn a_store_with_a_token_credential_has_no_signature_to_exchange() {
    #[derive(Debug)]
    struct Nobody;
    #[async_trait]
    impl TokenCredential for Nobody {
        async fn token(&self, _: &str) -> Result<AccessToken, TokenError> {
            Err("nobody".into())
        }
    }
    let builder = crate::with_credential("contoso.blob.core.windows.net", "checkpoints", Nobody);
    let error = builder.build().unwrap().update_shared_access_signature(SAS).unwrap_err();
    assert!(error.to_string().contains("token credential"), "{error}");
}

#[test]
fn a_connection_string_of_another_account_is_refused() {
    let text = Azurite::connection_string_at(1);
    let store = crate::open(&text, "checkpoints").unwrap();
    store.update_connection_string(&text).unwrap();
    for other in
        [Azurite::connection_string_at(2), text.replace("AccountName=devstoreaccount1", "AccountName=a")]
    {
        let error = store.update_connection_string(&other).unwrap_err();
        assert!(error.to_string().contains("another account"), "{error}");
    }
}

#[test]
fn a_signature_does_not_follow_a_key_in_clear_text() {
    let text = Azurite::connection_string_at(1).replace("127.0.0.1:1", "contoso.example");
    let store = crate::open(&text, "checkpoints").unwrap();
    let error = store.update_shared_access_signature(SAS).unwrap_err();
    assert!(error.to_string().contains("https only"), "{error}");
}
