//! Shared keys and signatures, and the tokens made from them. Tokens of Entra ID are in
//! `token_credential.rs`.
//!
//! Tests: below.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::token_credential::SCOPE;
use crate::{Error, ErrorKind, Result, TokenCredential, TokenError};

/// How long a signature that we make is valid.
const VALIDITY: Duration = Duration::from_secs(60 * 60);

const SAS_TOKEN: &str = "servicebus.windows.net:sastoken";

const JWT: &str = "jwt";

/// What stays as it is in a SAS token: the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The part of a connection string that proves the right to read.
#[derive(Debug, Clone)]
pub(crate) enum Secret {
    /// A policy and its key, to sign tokens with.
    Key { policy: String, key: SecretString },
    /// A signature made elsewhere; it cannot be renewed.
    Signature(SecretString),
}

impl Secret {
    pub(crate) fn key(policy: &str, key: &str) -> Self {
        Self::Key { policy: policy.to_owned(), key: key.into() }
    }

    pub(crate) fn signature(signature: &str) -> Self {
        Self::Signature(signature.into())
    }

    /// A token for the audience, fresh if we can sign.
    fn token(&self, audience: &str, now: SystemTime) -> Token {
        let (secret, expires_at, is_renewable) = match self {
            Self::Key { policy, key } => {
                let expires_at = now + VALIDITY;
                (sign(audience, policy, key, unix_seconds(expires_at)), Some(expires_at), true)
            }
            Self::Signature(signature) => (signature.clone(), expiry(signature), false),
        };
        Token { secret, kind: SAS_TOKEN, expires_at, is_renewable }
    }
}

/// What is put to `$cbs`.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) secret: SecretString,
    /// What the service knows it as (docs/contract.md §1.4).
    pub(crate) kind: &'static str,
    /// `None` when it cannot be known; such a token is never renewed.
    pub(crate) expires_at: Option<SystemTime>,
    /// Whether a later token lives longer; a given signature is never renewed (docs/contract.md §1.3).
    pub(crate) is_renewable: bool,
}

/// Where the tokens of a client come from.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// What the user gave, until another is given.
    Given(watch::Sender<Secret>),
    /// Microsoft Entra ID.
    Issued { credential: Arc<dyn TokenCredential>, limit: Duration },
}

impl Credential {
    pub(crate) fn given(secret: Secret) -> Self {
        Self::Given(watch::Sender::new(secret))
    }

    /// A token for the audience.
    pub(crate) async fn token(&self, audience: &str, now: SystemTime) -> Result<Token> {
        match self {
            Self::Given(secret) => Ok(secret.borrow().token(audience, now)),
            Self::Issued { credential, limit } => {
                // A panic would end the task that renews the tokens, and nobody would know.
                let issuing = AssertUnwindSafe(credential.token(SCOPE)).catch_unwind();
                let issued = timeout(*limit, issuing).await;
                let issued = issued.map_err(|_| Error::new(ErrorKind::Timeout, "getting a token"))?;
                let issued = issued.unwrap_or_else(|_| Err("the credential panicked".into()));
                let issued = issued.map_err(no_token)?;
                let (secret, expires_at) = (issued.expose().into(), Some(issued.expires_at()));
                Ok(Token { secret, kind: JWT, expires_at, is_renewable: true })
            }
        }
    }

    /// Replaces what was given; `false` if nothing was.
    pub(crate) fn replace(&self, secret: Secret) -> bool {
        match self {
            Self::Given(given) => _ = given.send_replace(secret),
            Self::Issued { .. } => return false,
        }
        true
    }

    /// Changes with each replacement; `None` if there can be none.
    pub(crate) fn replacements(&self) -> Option<watch::Receiver<Secret>> {
        match self {
            Self::Given(given) => Some(given.subscribe()),
            Self::Issued { .. } => None,
        }
    }
}

fn no_token(source: TokenError) -> Error {
    Error::new(ErrorKind::Credential, "getting a token").with_boxed_source(source)
}

/// A SAS token (docs/contract.md §1.3): HMAC-SHA256 over the escaped audience and the expiry, keyed with the
/// text of the key.
fn sign(audience: &str, policy: &str, key: &SecretString, expires: u64) -> SecretString {
    let resource = utf8_percent_encode(audience, ESCAPED);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(format!("{resource}\n{expires}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, ESCAPED);
    let policy = utf8_percent_encode(policy, ESCAPED);
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expires}&skn={policy}").into()
}

/// The `se` field of a given signature.
fn expiry(signature: &SecretString) -> Option<SystemTime> {
    let fields = signature.expose_secret().rsplit(' ').next()?;
    let seconds = fields.split('&').find_map(|field| field.strip_prefix("se="))?.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG=";

    /// docs/contract.md §13.2, by the rule of §1.3: `%20` for a blank, upper-case hex, the policy escaped
    /// once.
    #[test]
    fn signatures_equal_those_of_the_sdks() {
        for (audience, policy, key, expires, tail) in [
            (
                "sb://ns.servicebus.windows.net/hub1/consumergroups/$Default",
                "Root",
                K,
                1_700_003_600,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2Fhub1%2Fconsumergroups%2F%24Default&sig=vzqhK7QYTjB0DgdLifDetPVlrDqcPcnUkUWmIuylqcU%3D&se=1700003600&skn=Root",
            ),
            (
                "sb://ns.servicebus.windows.net/hub1",
                "Root",
                K,
                1_700_003_600,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2Fhub1&sig=Zc3nPJOwX%2B2t40ycRej0V2NKBUUinUF3%2B4dwcuQu2Ok%3D&se=1700003600&skn=Root",
            ),
            (
                "sb://ns.servicebus.windows.net/hub1/ConsumerGroups/$Default/Partitions/0",
                "Root",
                K,
                1_700_003_600,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2Fhub1%2FConsumerGroups%2F%24Default%2FPartitions%2F0&sig=x3f11QDeO0DHQGM4qIgWcwOR7jW2M8gPGBAykGzBK6A%3D&se=1700003600&skn=Root",
            ),
            (
                "sb://ns.servicebus.windows.net/Hub One/ConsumerGroups/$Default/Partitions/0",
                "my policy+1",
                K,
                1_700_003_600,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2FHub%20One%2FConsumerGroups%2F%24Default%2FPartitions%2F0&sig=uGgTjBLTCNV8bSwo%2Ftx7cvLhjSdxHRbOwy%2BER9QyPlM%3D&se=1700003600&skn=my%20policy%2B1",
            ),
            (
                "sb://localhost:6065/eh1/consumergroups/$Default",
                "RootManageSharedAccessKey",
                "SAS_KEY_VALUE",
                1_700_003_600,
                "sr=sb%3A%2F%2Flocalhost%3A6065%2Feh1%2Fconsumergroups%2F%24Default&sig=2N%2ByqJB9iLu3TqBJ9oG1xVUoArWKEo%2FALetOHBrhJq4%3D&se=1700003600&skn=RootManageSharedAccessKey",
            ),
            (
                "amqps://example.servicebus.windows.net/myhub",
                "RootManageSharedAccessKey",
                "mykey",
                1_700_000_000,
                "sr=amqps%3A%2F%2Fexample.servicebus.windows.net%2Fmyhub&sig=J40b3ojd%2BBRX%2B48odOoGfLt96aldvIJV7hL%2F2R%2F6a28%3D&se=1700000000&skn=RootManageSharedAccessKey",
            ),
            (
                "amqps://ns.servicebus.windows.net/hub1",
                "Root",
                K,
                1_700_003_600,
                "sr=amqps%3A%2F%2Fns.servicebus.windows.net%2Fhub1&sig=ld0QD2wksoCiVJFplr5HBJgLlhSqsgdiYQDXZtvMb4g%3D&se=1700003600&skn=Root",
            ),
        ] {
            let token = sign(audience, policy, &key.into(), expires);
            assert_eq!(token.expose_secret(), format!("SharedAccessSignature {tail}"));
        }
    }

    #[test]
    fn a_given_signature_is_passed_on_with_its_expiry() {
        let given = "SharedAccessSignature sr=sb%3A%2F%2Fns&sig=abc%3D&se=1700003600&skn=Root";
        let token = Secret::signature(given).token("sb://other", UNIX_EPOCH);
        assert_eq!(token.secret.expose_secret(), given);
        assert_eq!(token.expires_at, Some(UNIX_EPOCH + Duration::from_secs(1_700_003_600)));
        assert_eq!(Secret::signature("se=soon").token("", UNIX_EPOCH).expires_at, None);
    }

    #[test]
    fn no_secret_is_shown() {
        let secret = Secret::key("Root", K);
        let token = secret.token("sb://ns/hub", UNIX_EPOCH);
        let credential = Credential::given(secret);
        assert!(!format!("{credential:?} {token:?}").contains("abcdefgh"));
        assert!(!format!("{token:?}").contains("sig="));
    }
}
