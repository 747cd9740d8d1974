//! An account, where its blobs are, and what opens it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use eventhubs_types::TokenCredential;
use reqwest::Url;
use secrecy::SecretString;

/// An account, and what opens it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) account: Account,
    pub(crate) credential: Credential,
}

/// Where the blobs are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Empty where only the endpoint is known; then no key needs it.
    pub(crate) name: String,
    /// Without a query or a user.
    pub(crate) endpoint: Url,
}

/// What opens an account.
pub(crate) enum Credential {
    /// May be exchanged while the store is in use.
    Given(Secret),
    /// Microsoft Entra ID.
    Tokens(Arc<dyn TokenCredential>),
}

/// A key or a signature.
#[derive(Debug)]
pub(crate) enum Secret {
    /// Signs each request; base64.
    Key(SecretString),
    /// Goes into each request as its query, without `?`.
    Sas(SecretString),
}

impl Secret {
    /// Takes a shared access signature, with or without its `?`.
    ///
    /// # Errors
    /// The reason, when it has no signature in it.
    pub(crate) fn sas(token: &str) -> std::result::Result<Self, &'static str> {
        let token = token.trim().trim_start_matches('?');
        let is_signed = token.split('&').any(|pair| pair.len() > 4 && pair.starts_with("sig="));
        if is_signed { Ok(Self::Sas(token.into())) } else { Err("has no `sig`") }
    }
}

impl Connection {
    /// A key only signs, but a signature or a token is sent as it is.
    pub(crate) fn check_exposure(&self, what: &str) -> Result<()> {
        let is_sent = !matches!(self.credential, Credential::Given(Secret::Key(_)));
        if is_sent && self.account.is_in_clear() {
            return Err(invalid(format!("{what} goes over https only, except to this machine")));
        }
        Ok(())
    }
}

impl Account {
    pub(crate) fn at(endpoint: Url) -> Self {
        Self { name: String::new(), endpoint }
    }

    /// Whether others can read what is sent.
    pub(crate) fn is_in_clear(&self) -> bool {
        self.endpoint.scheme() == "http" && !is_this_machine(&self.endpoint)
    }

    /// The endpoint as requests extend it: without a slash at the end.
    pub(crate) fn url(&self) -> String {
        self.endpoint.as_str().trim_end_matches('/').to_owned()
    }
}

/// Not that of the credential, which may show what it should not.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(secret) => secret.fmt(f),
            Self::Tokens(_) => f.write_str("Tokens"),
        }
    }
}

/// Whether the host is the loopback device of this machine, by name or address.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether a URL is no more than where the service is.
pub(crate) fn check_url(url: &Url) -> std::result::Result<(), &'static str> {
    let is_plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    match url.scheme() {
        "http" | "https" if is_plain && url.has_host() => Ok(()),
        "http" | "https" => Err("holds more than a host and a path"),
        _ => Err("is neither https nor http"),
    }
}

pub(crate) fn invalid(context: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, context)
}
