//! What opens the account for each request: a key or a signature that can be exchanged, or a token.

use std::sync::{Arc, Mutex, PoisonError};

use eventhubs_types::AccessToken;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::account::{Account, Connection, Credential, Secret};
use crate::tokens::{NoToken, Tokens};

/// What opens the account, for all clones of a store.
#[derive(Debug)]
pub(crate) struct Access {
    account: Account,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Given(Mutex<Arc<Secret>>),
    Issued(Tokens),
}

/// What one request is opened with.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    Given(Arc<Secret>),
    Token(Arc<AccessToken>),
}

impl Access {
    pub(crate) fn new(Connection { account, credential }: Connection) -> Self {
        let source = match credential {
            Credential::Given(secret) => Source::Given(Mutex::new(Arc::new(secret))),
            Credential::Tokens(credential) => Source::Issued(Tokens::new(credential)),
        };
        Self { account, source }
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Returns what opens the next request.
    ///
    /// # Errors
    /// When the issuer has no token.
    pub(crate) async fn proof(&self) -> Result<Proof, NoToken> {
        match &self.source {
            Source::Given(secret) => Ok(Proof::Given(current(secret))),
            Source::Issued(tokens) => tokens.token().await.map(Proof::Token),
        }
    }

    /// Returns what to send a refused request with once more; `None` if that makes no sense.
    ///
    /// # Errors
    /// When the issuer has no other token.
    pub(crate) async fn after_refusal(&self, proof: &Proof, status: u16) -> Result<Option<Proof>, NoToken> {
        match (&self.source, proof, status) {
            // The request may have been on its way when the secret was exchanged.
            (Source::Given(secret), Proof::Given(used), 401 | 403) => {
                let current = current(secret);
                Ok((!Arc::ptr_eq(&current, used)).then_some(Proof::Given(current)))
            }
            // Not for 403: that token is known, and its identity may not do this.
            (Source::Issued(tokens), Proof::Token(refused), 401) => {
                tokens.instead_of(refused).await.map(|token| Some(Proof::Token(token)))
            }
            _ => Ok(None),
        }
    }

    /// Replaces the secret.
    ///
    /// # Errors
    /// The reason, if there is none to replace, or the new one must not be sent to this endpoint.
    pub(crate) fn exchange(&self, new: Secret) -> Result<(), &'static str> {
        let Source::Given(secret) = &self.source else {
            return Err("this store was opened with a token credential and has none to replace");
        };
        // The store may have been opened with a key, which plain http does not expose.
        if matches!(new, Secret::Sas(_)) && self.account.is_in_clear() {
            return Err("goes over https only, except to this machine");
        }
        *secret.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }
}

/// Adds a shared access signature to the query of a request.
pub(crate) fn append_signature(url: &mut Url, signature: &SecretString) {
    let signature = signature.expose_secret();
    // Parsed as a query, so that the pairs are encoded once, however the signature came.
    let Ok(parsed) = Url::parse(&format!("https://unused.invalid/?{signature}")) else { return };
    url.query_pairs_mut().extend_pairs(parsed.query_pairs());
}

fn current(secret: &Mutex<Arc<Secret>>) -> Arc<Secret> {
    Arc::clone(&secret.lock().unwrap_or_else(PoisonError::into_inner))
}
