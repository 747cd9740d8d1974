//! Tokens of Microsoft Entra ID or any other issuer: the trait that a credential implements, for the event hub
//! and for stores alike.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

/// Gets tokens of Microsoft Entra ID, for example with a managed identity.
///
/// The crate `eventhubs-azure-core` adapts the credentials of `azure_identity`. One of your own:
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use eventhubs_types::{AccessToken, TokenCredential, TokenError};
///
/// #[derive(Debug)]
/// struct FromTheSidecar;
///
/// #[async_trait::async_trait]
/// impl TokenCredential for FromTheSidecar {
///     async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
///         let known = ["https://eventhubs.azure.net/.default", "https://storage.azure.com/.default"];
///         assert!(known.contains(&scope));
///         let text = "eyJhbGciOiJub25lIn0.e30.c2ln"; // ask the sidecar
///         Ok(AccessToken::new(text, SystemTime::now() + Duration::from_secs(3600)))
///     }
/// }
/// ```
#[async_trait]
pub trait TokenCredential: fmt::Debug + Send + Sync {
    /// Returns a token for the scope: `https://eventhubs.azure.net/.default` for an event hub,
    /// `https://storage.azure.com/.default` for the blob store. A client calls it for each connection and
    /// consumer group, again some minutes before a token expires, and for each request of properties, so cache
    /// tokens while they are valid. The blob store caches them itself.
    ///
    /// # Errors
    /// Any error that says why there is no token, without a secret in it. It counts as transient: the caller
    /// tries again within its retry policy.
    ///
    /// # Cancel safety
    /// The call is dropped when it takes longer than the time limit of an attempt.
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
    secret: SecretString,
    expires_at: SystemTime,
}

impl AccessToken {
    /// Wraps a token as the issuer returned it.
    pub fn new(token: impl Into<String>, expires_at: SystemTime) -> Self {
        Self { secret: token.into().into(), expires_at }
    }

    /// Returns the token itself, for the service and for nobody else.
    pub fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    /// Returns when it expires, by the clock of the issuer.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_token() {
        let token = AccessToken::new("canary", SystemTime::UNIX_EPOCH);
        assert_eq!((token.expose(), token.expires_at()), ("canary", SystemTime::UNIX_EPOCH));
        assert!(!format!("{token:?}").contains("canary"));
    }
}
