//! Tokens of Entra ID, before a front that takes them for Azurite, which takes them over https only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{CheckpointStore, ErrorKind, Expected, async_trait};
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_test_harness::Azurite;
use eventhubs_types::{AccessToken, TokenCredential, TokenError};

use crate::proxy::{Plan, Proxy, header, signed};
use crate::secrets::SAS;
use crate::{at, claim, scope, version_of, won};

/// Gives these tokens, one after the other, and the last one forever.
#[derive(Debug, Clone)]
struct Issuer(Arc<Mutex<VecDeque<&'static str>>>);

impl Issuer {
    fn of<const N: usize>(tokens: [&'static str; N]) -> Self {
        Self(Arc::new(Mutex::new(tokens.into())))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[async_trait]
impl TokenCredential for Issuer {
    async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        assert_eq!(scope, "https://storage.azure.com/.default");
        let mut tokens = self.0.lock().unwrap();
        let token = if tokens.len() > 1 { tokens.pop_front() } else { tokens.front().copied() };
        let token = token.ok_or("the issuer is away")?;
        Ok(AccessToken::new(token, SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)))
    }
}

/// Takes this token and no other credential.
async fn proxy_for(token: &'static str) -> Proxy {
    let proxy = Proxy::start().await;
    proxy.guard(move |head| match header(&head, "authorization") {
        Some(value) if value == format!("Bearer {token}") => Ok(signed(&head, SAS)),
        _ => Err(Plan::refusal("401 Unauthorized", "InvalidAuthenticationInfo", "")),
    });
    proxy
}

fn store(proxy: &Proxy, issuer: &Issuer) -> BlobCheckpointStore {
    let endpoint = format!("http://127.0.0.1:{}/devstoreaccount1/", proxy.port);
    let container = Azurite::unused_container();
    crate::with_credential(&endpoint, &container, issuer.clone()).build().unwrap()
}

#[tokio::test]
async fn a_token_opens_the_store_and_is_fetched_once() {
    let (proxy, issuer) = (proxy_for("good").await, Issuer::of(["good", "never-needed"]));
    let store = store(&proxy, &issuer);
    store.create_container_if_absent().await.unwrap();
    let first = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    won(&store, &claim("0", Some("me"), version_of(&first))).await;
    store.update_checkpoint(&scope(), &at("0", "1", 1), &Expected::Absent).await.unwrap();
    assert_eq!(store.list_ownership(&scope()).await.unwrap().records.len(), 1);
    assert_eq!(store.list_checkpoints(&scope()).await.unwrap().len(), 1);
    assert_eq!(issuer.left(), 1);
    for head in proxy.take_seen() {
        assert!(!head.contains("sig=") && !head.contains("SharedKey"), "{head}");
    }
}

#[tokio::test]
async fn a_refused_token_is_fetched_again_once() {
    let (proxy, issuer) = (proxy_for("new").await, Issuer::of(["old", "new"]));
    let store = store(&proxy, &issuer);
    store.create_container_if_absent().await.unwrap();
    assert_eq!(proxy.take_seen().len(), 2);
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    assert_eq!(proxy.take_seen().len(), 1, "the new one is kept");
}

#[tokio::test]
async fn a_token_that_stays_refused_is_unauthorized_and_not_shown() {
    let (proxy, issuer) = (proxy_for("another").await, Issuer::of(["canary-1", "canary-2", "canary-3"]));
    let store = store(&proxy, &issuer);
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{error} {error:?} {store:?}").contains("canary"), "{error:?}");
    assert_eq!(proxy.take_seen().len(), 2);
}

#[tokio::test]
async fn an_identity_without_the_role_is_told_which_one_it_needs() {
    let (proxy, issuer) = (proxy_for("good").await, Issuer::of(["good"]));
    let store = store(&proxy, &issuer);
    let refusal = Plan::refusal("403 Forbidden", "AuthorizationPermissionMismatch", "");
    proxy.plan([Plan::Answer(refusal)]);
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("Storage Blob Data Contributor"), "{error}");
    assert_eq!(proxy.take_seen().len(), 1, "another token would not help");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_is_transient_and_the_cause() {
    let (proxy, issuer) = (proxy_for("good").await, Issuer::of([]));
    let error = store(&proxy, &issuer).list_ownership(&scope()).await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().ends_with("the credential has no token: the issuer is away"), "{error}");
}

#[test]
fn a_token_is_never_sent_in_clear_text_to_another_machine() {
    let builder = crate::with_credential("http://contoso.example", "checkpoints", Issuer::of([]));
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("https only"), "{error}");
}
