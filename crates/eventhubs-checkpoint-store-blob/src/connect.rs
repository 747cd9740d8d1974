//! Connection strings of Azure Storage.
//!
//! The SDK's own parser repeats the whole string, key included, in its errors. This one names the key at
//! fault and never a value.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use eventhubs_types::no_connection_string;
use reqwest::Url;
use secrecy::SecretString;

const ACCOUNT_KEY: &str = "AccountKey";
const ACCOUNT_NAME: &str = "AccountName";
const BLOB_ENDPOINT: &str = "BlobEndpoint";
const ENDPOINT_SUFFIX: &str = "EndpointSuffix";
const PROTOCOL: &str = "DefaultEndpointsProtocol";
const PROXY: &str = "DevelopmentStorageProxyUri";
const SAS: &str = "SharedAccessSignature";
const USE_DEVELOPMENT_STORAGE: &str = "UseDevelopmentStorage";

/// Other keys, the endpoints of queues and tables for example, are none of our business.
const KEYS: [&str; 8] = [
    ACCOUNT_KEY,
    ACCOUNT_NAME,
    BLOB_ENDPOINT,
    ENDPOINT_SUFFIX,
    PROTOCOL,
    PROXY,
    SAS,
    USE_DEVELOPMENT_STORAGE,
];

/// What `UseDevelopmentStorage=true` means; Microsoft publishes this key for local emulators.
const DEVELOPMENT_STORAGE: &str = "AccountName=devstoreaccount1;\
    AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;\
    BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1";

/// Where the blobs of an account are, and what opens them.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Empty where only the endpoint is known; then no key needs it.
    pub(crate) account: String,
    /// Without a slash at the end, query or user.
    pub(crate) endpoint: String,
    pub(crate) credential: Credential,
}

/// What opens an account.
#[derive(Debug)]
pub(crate) enum Credential {
    /// Signs each request; base64.
    Key(SecretString),
    /// Goes into each request as its query, without `?`.
    Sas(SecretString),
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
        if let Some(value) = settings.get(USE_DEVELOPMENT_STORAGE) {
            settings.check_development_storage(value)?;
            return Self::parse(DEVELOPMENT_STORAGE);
        }
        let connection = Self {
            endpoint: settings.endpoint()?,
            credential: settings.credential()?,
            account: settings.get(ACCOUNT_NAME).unwrap_or_default().to_owned(),
        };
        connection.check_exposure()?;
        Ok(connection)
    }

    /// A key only signs, but a signature is sent as it is.
    fn check_exposure(&self) -> Result<()> {
        let url = Url::parse(&self.endpoint).map_err(|_| wrong(BLOB_ENDPOINT, "is not a URL"))?;
        if matches!(self.credential, Credential::Sas(_)) && url.scheme() == "http" && !is_this_machine(&url) {
            return Err(wrong(SAS, "goes over https only, except to this host"));
        }
        Ok(())
    }
}

pub(crate) fn is_this_machine(url: &Url) -> bool {
    matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"))
}

/// What somebody most likely did who has no connection string of a storage account here.
fn mistake(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let other = if lower.starts_with("http://") || lower.starts_with("https://") {
        Some("is a URL; give BlobEndpoint=<url>;SharedAccessSignature=<what follows its `?`>")
    } else if lower.contains("endpoint=sb://") {
        Some("is one of an event hub; that of a storage account has an AccountName or a BlobEndpoint")
    } else {
        None
    };
    no_connection_string(text).or(other)
}

/// The values of a connection string by the known key.
struct Settings<'a>(BTreeMap<&'static str, &'a str>);

impl<'a> Settings<'a> {
    fn parse(connection_string: &'a str) -> Result<Self> {
        let mut settings = BTreeMap::new();
        let parts = connection_string.split(';').map(str::trim).filter(|part| !part.is_empty());
        for (index, part) in parts.enumerate() {
            let Some((key, value)) = part.split_once('=') else {
                return Err(invalid(format!("connection string: part {} has no `=`", index + 1)));
            };
            let Some(key) = KEYS.into_iter().find(|known| known.eq_ignore_ascii_case(key.trim())) else {
                continue;
            };
            if value.trim().is_empty() {
                return Err(wrong(key, "is empty"));
            }
            if settings.insert(key, value.trim()).is_some() {
                return Err(wrong(key, "is there twice"));
            }
        }
        Ok(Self(settings))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).copied()
    }

    fn required(&self, key: &str) -> Result<&'a str> {
        self.get(key).ok_or_else(|| wrong(key, "is missing"))
    }

    fn check_development_storage(&self, value: &str) -> Result<()> {
        if !value.eq_ignore_ascii_case("true") {
            return Err(wrong(USE_DEVELOPMENT_STORAGE, "can only be `true`"));
        }
        match self.0.keys().find(|key| **key != USE_DEVELOPMENT_STORAGE) {
            None => Ok(()),
            Some(other) => {
                Err(wrong(other, "does not go with UseDevelopmentStorage; use BlobEndpoint instead"))
            }
        }
    }

    /// The endpoint that is given, else the one that follows from the account's name.
    fn endpoint(&self) -> Result<String> {
        let Some(endpoint) = self.get(BLOB_ENDPOINT) else {
            let (protocol, account) = (self.get(PROTOCOL).unwrap_or("https"), self.required(ACCOUNT_NAME)?);
            let suffix = self.get(ENDPOINT_SUFFIX).unwrap_or("core.windows.net");
            check_protocol(PROTOCOL, protocol)?;
            check_host(ACCOUNT_NAME, account)?;
            check_host(ENDPOINT_SUFFIX, suffix)?;
            return Ok(format!("{protocol}://{account}.blob.{suffix}"));
        };
        let url = Url::parse(endpoint).map_err(|_| wrong(BLOB_ENDPOINT, "is not a URL"))?;
        check_protocol(BLOB_ENDPOINT, url.scheme())?;
        if url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(wrong(BLOB_ENDPOINT, "holds more than a host and a path"));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    /// The one credential. A key that cannot sign is refused here, where the error can name it.
    fn credential(&self) -> Result<Credential> {
        match (self.get(ACCOUNT_KEY), self.get(SAS)) {
            (Some(key), None) => {
                self.required(ACCOUNT_NAME)?;
                BASE64_STANDARD.decode(key).map_err(|_| wrong(ACCOUNT_KEY, "is not base64"))?;
                Ok(Credential::Key(key.into()))
            }
            (None, Some(token)) => {
                let token = token.trim_start_matches('?');
                let signed = token.split('&').any(|pair| pair.starts_with("sig="));
                if signed { Ok(Credential::Sas(token.into())) } else { Err(wrong(SAS, "has no `sig`")) }
            }
            (Some(_), Some(_)) => Err(wrong(SAS, "does not go with AccountKey: give one of them")),
            (None, None) => Err(wrong(ACCOUNT_KEY, "is missing, and so is SharedAccessSignature")),
        }
    }
}

fn check_protocol(key: &str, protocol: &str) -> Result<()> {
    if matches!(protocol, "https" | "http") { Ok(()) } else { Err(wrong(key, "is neither https nor http")) }
}

/// Keeps a path, a port or a user out of the URL that the name becomes part of.
fn check_host(key: &str, name: &str) -> Result<()> {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if fits { Ok(()) } else { Err(wrong(key, "is not part of a host name")) }
}

fn wrong(key: &str, reason: &str) -> Error {
    invalid(format!("connection string: {key} {reason}"))
}

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, context)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const KEY: &str = "c2VjcmV0LWNhbmFyeQ==";

    fn error(connection_string: &str) -> String {
        let error = Connection::parse(connection_string).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    }

    #[test]
    fn the_string_of_the_portal_is_read() {
        let text = format!(
            "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey={KEY};EndpointSuffix=core.windows.net"
        );
        let connection = Connection::parse(&text).unwrap();
        assert_eq!(connection.endpoint, "https://contoso.blob.core.windows.net");
        assert_eq!(connection.account, "contoso");
        assert!(matches!(connection.credential, Credential::Key(key) if key.expose_secret() == KEY));
    }

    #[test]
    fn keys_are_known_in_any_case_and_order_with_strangers_between() {
        let text = format!(" accountkey={KEY}; ;QueueEndpoint=https://q/ ; ACCOUNTNAME = contoso;");
        assert_eq!(Connection::parse(&text).unwrap().endpoint, "https://contoso.blob.core.windows.net");
    }

    #[test]
    fn an_endpoint_comes_before_a_name_and_loses_its_last_slash() {
        let text = format!("AccountName=a;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:10001/a/");
        assert_eq!(Connection::parse(&text).unwrap().endpoint, "http://127.0.0.1:10001/a");
    }

    #[test]
    fn a_signature_needs_no_account_name() {
        let text =
            "BlobEndpoint=https://contoso.blob.core.windows.net;SharedAccessSignature=?sv=2022&sig=a%3D";
        let connection = Connection::parse(text).unwrap();
        assert!(
            matches!(connection.credential, Credential::Sas(token) if token.expose_secret() == "sv=2022&sig=a%3D")
        );
    }

    #[test]
    fn development_storage_is_azurite_at_its_usual_port() {
        let connection = Connection::parse("UseDevelopmentStorage=TRUE;").unwrap();
        assert_eq!(connection.endpoint, "http://127.0.0.1:10000/devstoreaccount1");
        assert_eq!(connection.account, "devstoreaccount1");
    }

    #[test]
    fn an_error_names_the_key_and_no_value() {
        let canary = "c2VjcmV0LWNhbmFyeQ";
        for (text, expected) in [
            (format!("AccountName=a;{canary}"), "part 2 has no `=`"),
            ("AccountName=contoso".to_owned(), "AccountKey is missing"),
            (format!("AccountKey={KEY}"), "AccountName is missing"),
            (format!("BlobEndpoint=https://h;AccountKey={KEY}"), "AccountName is missing"),
            (format!("AccountName=;AccountKey={KEY}"), "AccountName is empty"),
            (format!("AccountName=a;AccountKey={KEY};accountkey={KEY}"), "AccountKey is there twice"),
            (format!("AccountName=a;AccountKey={canary}*"), "AccountKey is not base64"),
            (format!("AccountName=a/{canary};AccountKey={KEY}"), "AccountName is not part of a host name"),
            (
                format!("AccountName=a;AccountKey={KEY};EndpointSuffix=x?{canary}"),
                "EndpointSuffix is not part",
            ),
            (
                format!("AccountName=a;AccountKey={KEY};DefaultEndpointsProtocol=ftp"),
                "DefaultEndpointsProtocol is",
            ),
            (format!("AccountName=a;AccountKey={KEY};BlobEndpoint={canary}"), "BlobEndpoint is not a URL"),
            (
                format!("AccountName=a;AccountKey={KEY};BlobEndpoint=https://h?sig={canary}"),
                "BlobEndpoint holds",
            ),
            (format!("AccountName=a;AccountKey={KEY};BlobEndpoint=https://{canary}@h"), "BlobEndpoint holds"),
            (
                format!("AccountName=a;SharedAccessSignature=sv={canary}"),
                "SharedAccessSignature has no `sig`",
            ),
            (
                format!("AccountName=a;AccountKey={KEY};SharedAccessSignature=sig={canary}"),
                "SharedAccessSignature does",
            ),
            (format!("UseDevelopmentStorage={canary}"), "UseDevelopmentStorage can only be `true`"),
            (
                format!("BlobEndpoint=http://contoso.example;SharedAccessSignature=sig={canary}"),
                "SharedAccessSignature goes over https only",
            ),
            (
                "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://h".to_owned(),
                "DevelopmentStorageProxyUri does not go with",
            ),
            (String::new(), "connection string: is empty"),
            (format!("AccountKey={KEY}"), "AccountName is missing"),
        ] {
            let error = error(&text);
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains(canary), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("AccountName=contoso;AccountKey={KEY}");
        let debug = format!("{:?}", Connection::parse(&text).unwrap());
        assert!(debug.contains("contoso") && !debug.contains(KEY), "{debug}");
    }
}
