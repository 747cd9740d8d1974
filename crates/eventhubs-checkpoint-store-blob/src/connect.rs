//! Where the blobs of an account are, and what opens them: from a connection string, a URL with a shared access
//! signature, or an endpoint and a token credential.
//!
//! No error repeats a value: a mix-up of arguments puts a secret anywhere.

mod settings;

use std::sync::Arc;

use eventhubs_checkpoint_store::Result;
use eventhubs_types::{TokenCredential, no_connection_string};
use reqwest::Url;

use self::settings::Settings;
use crate::account::{Account, Connection, Credential, Secret, check_url, invalid};

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

#[cfg(test)]
mod tests;
