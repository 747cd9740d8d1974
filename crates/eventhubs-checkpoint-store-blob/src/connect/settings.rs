//! The keys and values of a connection string.
//!
//! The SDK's own parser repeats the whole string, key included, in its errors. This one names the key at
//! fault and never a value.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use eventhubs_checkpoint_store::{Error, Result};
use reqwest::Url;

use crate::account::{Account, Connection, Credential, Secret, check_url, invalid};

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

/// The account of local emulators and its key, which Microsoft publishes.
const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Where the blob service of an emulator listens unless told otherwise.
const DEVELOPMENT_PORT: u16 = 10_000;

/// The values of a connection string by the known key.
pub(super) struct Settings<'a>(BTreeMap<&'static str, &'a str>);

impl<'a> Settings<'a> {
    pub(super) fn parse(connection_string: &'a str) -> Result<Self> {
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

    /// What `UseDevelopmentStorage=true` means, as a connection string; `None` without it.
    pub(super) fn development_storage(&self) -> Result<Option<String>> {
        match self.get(USE_DEVELOPMENT_STORAGE) {
            None if self.get(PROXY).is_some() => Err(wrong(PROXY, "goes with UseDevelopmentStorage only")),
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case("true") => {
                let strangers = self.0.keys().find(|key| ![USE_DEVELOPMENT_STORAGE, PROXY].contains(*key));
                if let Some(other) = strangers {
                    return Err(wrong(
                        other,
                        "does not go with UseDevelopmentStorage; use BlobEndpoint instead",
                    ));
                }
                let host = self.development_host()?;
                Ok(Some(format!(
                    "{ACCOUNT_NAME}={DEVELOPMENT_ACCOUNT};{ACCOUNT_KEY}={DEVELOPMENT_KEY};\
                     {BLOB_ENDPOINT}={host}/{DEVELOPMENT_ACCOUNT}"
                )))
            }
            Some(_) => Err(wrong(USE_DEVELOPMENT_STORAGE, "can only be `true`")),
        }
    }

    /// The scheme, host and port of the emulator: this machine, or what `DevelopmentStorageProxyUri` names.
    fn development_host(&self) -> Result<String> {
        let text = self.get(PROXY).unwrap_or("http://127.0.0.1");
        let url = Url::parse(text).map_err(|_| wrong(PROXY, "is not a URL"))?;
        check_url(&url).map_err(|reason| wrong(PROXY, reason))?;
        let host = url.host_str().filter(|_| url.path() == "/");
        let host = host.ok_or_else(|| wrong(PROXY, "holds more than a host and a port"))?;
        Ok(format!("{}://{host}:{}", url.scheme(), url.port().unwrap_or(DEVELOPMENT_PORT)))
    }

    pub(super) fn connection(&self) -> Result<Connection> {
        let name = self.get(ACCOUNT_NAME).unwrap_or_default().to_owned();
        let account = Account { name, endpoint: self.endpoint()? };
        Ok(Connection { account, credential: Credential::Given(self.secret()?) })
    }

    /// The endpoint that is given, else the one that follows from the account's name.
    fn endpoint(&self) -> Result<Url> {
        let given = self.get(BLOB_ENDPOINT).map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        let text = given.map_or_else(|| self.derived_endpoint(), Ok)?;
        let url = Url::parse(&text).map_err(|_| wrong(BLOB_ENDPOINT, "is not a URL"))?;
        check_url(&url).map_err(|reason| wrong(BLOB_ENDPOINT, reason))?;
        Ok(url)
    }

    fn derived_endpoint(&self) -> Result<String> {
        let (protocol, account) = (self.get(PROTOCOL).unwrap_or("https"), self.required(ACCOUNT_NAME)?);
        let suffix = self.get(ENDPOINT_SUFFIX).unwrap_or("core.windows.net");
        if !matches!(protocol, "https" | "http") {
            return Err(wrong(PROTOCOL, "is neither https nor http"));
        }
        check_host(ACCOUNT_NAME, account)?;
        check_host(ENDPOINT_SUFFIX, suffix)?;
        Ok(format!("{protocol}://{account}.blob.{suffix}"))
    }

    /// The one credential. A key that cannot sign is refused here, where the error can name it.
    fn secret(&self) -> Result<Secret> {
        match (self.get(ACCOUNT_KEY), self.get(SAS)) {
            (Some(key), None) => {
                self.required(ACCOUNT_NAME)?;
                BASE64_STANDARD.decode(key).map_err(|_| wrong(ACCOUNT_KEY, "is not base64"))?;
                Ok(Secret::Key(key.into()))
            }
            (None, Some(token)) => Secret::sas(token).map_err(|reason| wrong(SAS, reason)),
            (Some(_), Some(_)) => Err(wrong(SAS, "does not go with AccountKey: give one of them")),
            (None, None) => Err(wrong(ACCOUNT_KEY, "is missing, and so is SharedAccessSignature")),
        }
    }
}

/// Keeps a path, a port or a user out of the URL that the name becomes part of.
fn check_host(key: &str, name: &str) -> Result<()> {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if fits { Ok(()) } else { Err(wrong(key, "is not part of a host name")) }
}

fn wrong(key: &str, reason: &str) -> Error {
    invalid(format!("connection string: {key} {reason}"))
}
