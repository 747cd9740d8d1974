use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core_1::credentials;
use eventhubs_amqp::{AccessToken, TokenCredential, TokenError};

/// A credential made for `azure_core` 1.
#[derive(Clone)]
pub struct AzureCore1(Arc<dyn credentials::TokenCredential>);

impl AzureCore1 {
    /// Takes the credential.
    pub fn new(credential: Arc<dyn credentials::TokenCredential>) -> Self {
        Self(credential)
    }
}

/// Not that of the credential, which may show what it should not.
impl fmt::Debug for AzureCore1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureCore1").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenCredential for AzureCore1 {
    async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let token = self.0.get_token(&[scope], None).await?;
        Ok(AccessToken::new(token.token.secret(), token.expires_on.into()))
    }
}
