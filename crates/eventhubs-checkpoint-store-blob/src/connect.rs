//! Where the blobs of an account are, and what opens them: from a connection string, a URL with a shared access
//! signature, or an endpoint and a token credential.
//!
//! No error repeats a value: a mix-up of arguments puts a secret anywhere.

mod settings;

use std::net::IpAddr;
use std::sync::Arc;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use eventhubs_types::{TokenCredential, no_connection_string};
use reqwest::Url;
use secrecy::SecretString;

use self::settings::Settings;

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
    /// Reads a connection string. Keys are known in any case, and the order is free.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the key that is missing or wrong, and no value.
    pub(crate) fn parse(connection_string: &str) -> Result<Self> {
        if let Some(mistake) = mistake(connection_string.trim()) {
            return Err(invalid(format!("connection string: {mistake}")));
        }
        let settings = Settings::parse(connection_string)?;
        let connection = match settings.development_storage()? {
            Some(text) => Settings::parse(&text)?.connection()?,
            None => settings.connection()?,
        };
        connection.check_exposure("connection string: SharedAccessSignature")?;
        Ok(connection)
    }

    /// Reads the URL of a container with a shared access signature; gives the name of the container too.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the part that is wrong, and no value.
    pub(crate) fn of_sas_url(url: &str) -> Result<(Self, String)> {
        let wrong = |reason| invalid(format!("URL of the container: {reason}"));
        let mut endpoint = Url::parse(url.trim()).map_err(|_| wrong("is not a URL"))?;
        let secret = Secret::sas(endpoint.query().unwrap_or_default()).map_err(wrong)?;
        endpoint.set_query(None);
        check_url(&endpoint).map_err(wrong)?;
        let segments = endpoint.path().trim_matches('/').rsplit_once('/');
        // A path of two segments begins with the account: emulators and Azure Stack Hub have such URLs.
        let (path, container) = segments.unwrap_or(("", endpoint.path().trim_matches('/')));
        let (path, container) = (path.to_owned(), container.to_owned());
        if container.is_empty() {
            return Err(wrong("names no container"));
        }
        endpoint.set_path(&path);
        let connection = Self { account: Account::at(endpoint), credential: Credential::Given(secret) };
        connection.check_exposure("URL of the container: a signature")?;
        Ok((connection, container))
    }

    /// The account at this endpoint: a URL, or a host name for one with https.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the reason.
    pub(crate) fn with_tokens(endpoint: &str, credential: Arc<dyn TokenCredential>) -> Result<Self> {
        let wrong = |reason| invalid(format!("endpoint: {reason}"));
        let text = endpoint.trim().trim_end_matches('/');
        let url =
            if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("https://{text}")) };
        let endpoint = url.map_err(|_| wrong("is not a URL"))?;
        check_url(&endpoint).map_err(wrong)?;
        let connection = Self { account: Account::at(endpoint), credential: Credential::Tokens(credential) };
        connection.check_exposure("endpoint: a token")?;
        Ok(connection)
    }

    /// A key only signs, but a signature or a token is sent as it is.
    fn check_exposure(&self, what: &str) -> Result<()> {
        let is_sent = !matches!(self.credential, Credential::Given(Secret::Key(_)));
        if is_sent && self.account.is_in_clear() {
            return Err(invalid(format!("{what} goes over https only, except to this machine")));
        }
        Ok(())
    }
}

impl Account {
    fn at(endpoint: Url) -> Self {
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
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
fn check_url(url: &Url) -> std::result::Result<(), &'static str> {
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

/// What somebody most likely did who has no connection string of a storage account here.
fn mistake(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let other = if lower.starts_with("http://") || lower.starts_with("https://") {
        Some("is a URL; with_sas_url takes that of a container, with_credential that of an account")
    } else if lower.contains("endpoint=sb://") {
        Some("is one of an event hub; that of a storage account has an AccountName or a BlobEndpoint")
    } else {
        None
    };
    no_connection_string(text).or(other)
}

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, context)
}

#[cfg(test)]
mod tests;
