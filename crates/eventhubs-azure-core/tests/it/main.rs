//! Credentials for both generations of `azure_core`, against the emulator.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod identity;

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core_0_21::auth;
use azure_core_1::credentials;
use eventhubs_amqp::{ErrorKind, EventHubClient, RetryPolicy, TokenCredential};
use eventhubs_azure_core::{AzureCore1, AzureCore021};
use eventhubs_emulator::Emulator;
use time::{Duration, OffsetDateTime};

/// Issues this token, or none.
#[derive(Debug)]
struct Issued(Option<&'static str>);

const JWT: Issued = Issued(Some("aGVhZGVy.Y2xhaW1z.c2lnbmF0dXJl"));

const SCOPES: &[&str] = &["https://eventhubs.azure.net/.default"];

fn far_future() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(40_000)
}

#[async_trait]
impl auth::TokenCredential for Issued {
    async fn get_token(&self, scopes: &[&str]) -> azure_core_0_21::Result<auth::AccessToken> {
        assert_eq!(scopes, SCOPES);
        match self.0 {
            Some(token) => Ok(auth::AccessToken::new(token, far_future())),
            None => Err(azure_core_0_21::Error::message(
                azure_core_0_21::error::ErrorKind::Credential,
                "nobody is logged in",
            )),
        }
    }

    async fn clear_cache(&self) -> azure_core_0_21::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl credentials::TokenCredential for Issued {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<credentials::TokenRequestOptions<'_>>,
    ) -> azure_core_1::Result<credentials::AccessToken> {
        assert_eq!(scopes, SCOPES);
        match self.0 {
            Some(token) => Ok(credentials::AccessToken::new(token, far_future())),
            None => Err(azure_core_1::Error::with_message(
                azure_core_1::error::ErrorKind::Credential,
                "nobody is logged in",
            )),
        }
    }
}

async fn partitions(credential: impl TokenCredential + 'static) -> eventhubs_amqp::Result<usize> {
    let emulator = Emulator::builder().event_hub("orders", 3).start().await.unwrap();
    let client = EventHubClient::with_credential(emulator.address().to_string(), "orders", credential)
        .use_development_emulator()
        .retry(RetryPolicy::fixed(std::time::Duration::from_millis(1)))
        .build()?;
    Ok(client.event_hub_properties().await?.partition_ids.len())
}

#[tokio::test]
async fn the_tokens_of_both_generations_are_shown() {
    assert_eq!(partitions(AzureCore021::new(Arc::new(JWT))).await.unwrap(), 3);
    assert_eq!(partitions(AzureCore1::new(Arc::new(JWT))).await.unwrap(), 3);
}

/// The credentials of this test show their token themselves.
#[tokio::test]
async fn no_token_is_ever_shown() {
    let issued = || Arc::new(Issued(Some("canary")));
    let credentials = [&AzureCore021::new(issued()) as &dyn TokenCredential, &AzureCore1::new(issued())];
    for credential in credentials {
        let token = credential.token(SCOPES[0]).await.unwrap();
        let shown = format!("{credential:?} {token:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
    for refused in
        [partitions(AzureCore021::new(issued())).await, partitions(AzureCore1::new(issued())).await]
    {
        let error = refused.unwrap_err();
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(!format!("{error} {error:?} {source}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_credential_that_fails_is_named_as_the_cause() {
    for error in [
        partitions(AzureCore021::new(Arc::new(Issued(None)))).await.unwrap_err(),
        partitions(AzureCore1::new(Arc::new(Issued(None)))).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Credential);
        assert!(error.source().unwrap().to_string().contains("nobody is logged in"), "{error:?}");
    }
}
