use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core_0_21::auth;
use eventhubs_amqp::{AccessToken, TokenCredential, TokenError};

/// A credential made for `azure_core` 0.21.
#[derive(Clone)]
pub struct AzureCore021(Arc<dyn auth::TokenCredential>);

impl AzureCore021 {
    /// Takes the credential.
    pub fn new(credential: Arc<dyn auth::TokenCredential>) -> Self {
        Self(credential)
    }
}

/// Not that of the credential, which may show what it should not.
impl fmt::Debug for AzureCore021 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureCore021").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenCredential for AzureCore021 {
    async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let token = self.0.get_token(&[scope]).await?;
        Ok(AccessToken::new(token.token.secret(), token.expires_on.into()))
    }
}
