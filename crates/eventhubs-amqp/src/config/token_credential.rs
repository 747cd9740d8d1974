//! Tokens of Microsoft Entra ID or any other issuer: the trait that a credential implements.
//!
//! Tests: `tests/it/credentials.rs`.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use secrecy::SecretString;

/// What a token is for (docs/contract.md §1.4).
pub(crate) const SCOPE: &str = "https://eventhubs.azure.net/.default";

/// Gets tokens of Microsoft Entra ID, for example with a managed identity.
///
/// The crate `eventhubs-azure-core` adapts the credentials of `azure_identity`. One of your own:
///
/// ```
/// # use eventhubs_emulator::Emulator;
/// use std::time::{Duration, SystemTime};
///
/// use eventhubs_amqp::{AccessToken, EventHubClient, TokenCredential, TokenError};
///
/// #[derive(Debug)]
/// struct FromTheSidecar;
///
/// #[async_trait::async_trait]
/// impl TokenCredential for FromTheSidecar {
///     async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
///         assert_eq!(scope, "https://eventhubs.azure.net/.default");
///         let text = "eyJhbGciOiJub25lIn0.e30.c2ln"; // ask the sidecar
///         Ok(AccessToken::new(text, SystemTime::now() + Duration::from_secs(3600)))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let emulator = Emulator::builder().event_hub("orders", 2).start().await?;
/// # let namespace = format!("localhost:{}", emulator.address().port());
/// let client = EventHubClient::with_credential(namespace, "orders", FromTheSidecar)
/// #   .use_development_emulator()
///     .build()?;
/// assert_eq!(client.event_hub_properties().await?.partition_ids.len(), 2);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait TokenCredential: fmt::Debug + Send + Sync {
    /// Returns a token for the scope. Called for each connection and consumer group, again some minutes
    /// before a token expires, and for each request of properties, so cache tokens while they are valid.
    ///
    /// # Errors
    /// Any error that says why there is no token, without a secret in it. It counts as transient: the client
    /// tries again within its retry policy.
    ///
    /// # Cancel safety
    /// The call is dropped when it takes longer than [`try_timeout`](crate::RetryPolicy::try_timeout).
    async fn token(&self, scope: &str) -> Result<AccessToken, TokenError>;
}

#[async_trait]
impl<T: TokenCredential + ?Sized> TokenCredential for Arc<T> {
    async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        (**self).token(scope).await
    }
}

/// Why there is no token.
pub type TokenError = Box<dyn StdError + Send + Sync>;

/// A token and its expiry. `Debug` does not show the token.
#[derive(Debug, Clone)]
pub struct AccessToken {
    pub(crate) secret: SecretString,
    pub(crate) expires_at: SystemTime,
}

impl AccessToken {
    /// Wraps a token as the issuer returned it.
    pub fn new(token: impl Into<String>, expires_at: SystemTime) -> Self {
        Self { secret: token.into().into(), expires_at }
    }
}
