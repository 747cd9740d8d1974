//! Shared access signatures (docs/contract.md §1.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::auth::address;

/// A shared access policy of the namespace.
#[derive(Debug, Clone)]
pub(crate) struct SharedAccessKey {
    pub(crate) name: String,
    pub(crate) key: SecretString,
}

/// The parts of `SharedAccessSignature sr=…&sig=…&se=…&skn=…`, as written in the token.
struct Token<'a> {
    resource: &'a str,
    signature: &'a str,
    expiry: &'a str,
    key_name: &'a str,
}

/// Checks a token for an audience and gives the time at which it expires, in milliseconds since 1970.
///
/// # Errors
/// What the service says in `status-description`; it never holds the token or the key.
pub(crate) fn verify(
    token: &str,
    audience: &str,
    keys: &[SharedAccessKey],
    now_ms: i64,
) -> Result<i64, &'static str> {
    let token = parse(token).ok_or("MalformedToken: The token is malformed.")?;
    // Checked: a client may write any number of digits.
    let expiry_ms = token.expiry.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1000));
    let expiry_ms = expiry_ms.ok_or("MalformedToken: The token has no valid expiry.")?;
    let key = keys.iter().find(|key| names(token.key_name, &key.name));
    if !key.is_some_and(|key| is_signed(&token, key)) {
        return Err("InvalidSignature: The token has an invalid signature.");
    }
    if expiry_ms <= now_ms {
        return Err("ExpiredToken: The token is expired.");
    }
    if !covers(&decode(token.resource, true), audience) {
        return Err("InvalidAudience: The token is not for this resource.");
    }
    Ok(expiry_ms)
}

fn parse(token: &str) -> Option<Token<'_>> {
    let fields = token.strip_prefix("SharedAccessSignature ")?;
    let field = |name: &str| {
        fields
            .split('&')
            .find_map(|field| field.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, v)| v)
    };
    Some(Token {
        resource: field("sr")?,
        signature: field("sig")?,
        expiry: field("se")?,
        key_name: field("skn")?,
    })
}

/// The signature is over the resource as it is encoded in the token: each SDK encodes in its own way.
fn is_signed(token: &Token<'_>, key: &SharedAccessKey) -> bool {
    let Ok(signature) = BASE64.decode(decode(token.signature, false)) else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(key.key.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(token.resource.as_bytes());
    mac.update(b"\n");
    mac.update(token.expiry.as_bytes());
    mac.verify_slice(&signature).is_ok()
}

/// Python encodes the policy name twice, Java, Go and Rust not at all.
fn names(encoded: &str, name: &str) -> bool {
    let once = decode(encoded, true);
    encoded == name || once == name || decode(&once, true) == name
}

fn decode(text: &str, plus_is_space: bool) -> String {
    let text = if plus_is_space { text.replace('+', " ") } else { text.to_owned() };
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Whether a token for `resource` opens `entity`: the same entity or a parent of it, in any case, whatever the scheme
/// and the host (docs/contract.md §1.3, §3.4).
pub(crate) fn covers(resource: &str, entity: &str) -> bool {
    let resource = address::path(resource).to_lowercase();
    let entity = address::path(entity).to_lowercase();
    match entity.strip_prefix(resource.as_str()) {
        // At a border of the path only: a token for `orders` does not open `orders2`.
        Some(rest) => resource.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG=";
    const BEFORE: i64 = 1_700_003_599_000;

    fn key(name: &str, key: &str) -> [SharedAccessKey; 1] {
        [SharedAccessKey { name: name.into(), key: key.into() }]
    }

    /// Audience, policy, key, token: docs/contract.md §13.2.
    fn vectors() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
        vec![
            (
                "sb://ns.servicebus.windows.net/hub1/consumergroups/$Default",
                "Root",
                K,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2Fhub1%2Fconsumergroups%2F%24Default&sig=vzqhK7QYTjB0DgdLifDetPVlrDqcPcnUkUWmIuylqcU%3D&se=1700003600&skn=Root",
            ),
            (
                "sb://ns.servicebus.windows.net/hub1",
                "Root",
                K,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2Fhub1&sig=Zc3nPJOwX%2B2t40ycRej0V2NKBUUinUF3%2B4dwcuQu2Ok%3D&se=1700003600&skn=Root",
            ),
            (
                "sb://ns.servicebus.windows.net/hub1/ConsumerGroups/$Default/Partitions/0",
                "Root",
                K,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2Fhub1%2FConsumerGroups%2F%24Default%2FPartitions%2F0&sig=x3f11QDeO0DHQGM4qIgWcwOR7jW2M8gPGBAykGzBK6A%3D&se=1700003600&skn=Root",
            ),
            (
                "sb://localhost:6065/eh1/consumergroups/$Default",
                "RootManageSharedAccessKey",
                "SAS_KEY_VALUE",
                "sr=sb%3A%2F%2Flocalhost%3A6065%2Feh1%2Fconsumergroups%2F%24Default&sig=2N%2ByqJB9iLu3TqBJ9oG1xVUoArWKEo%2FALetOHBrhJq4%3D&se=1700003600&skn=RootManageSharedAccessKey",
            ),
            (
                "sb://ns.servicebus.windows.net/Hub One/ConsumerGroups/$Default/Partitions/0",
                "my policy+1",
                K,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2FHub+One%2FConsumerGroups%2F%24Default%2FPartitions%2F0&sig=g0OFc7AhE3z96FZabUONlYp7iW%2F7oF9xf0pYJrOtFdE%3D&se=1700003600&skn=my%2Bpolicy%252B1",
            ),
            (
                "sb://ns.servicebus.windows.net/Hub One/ConsumerGroups/$Default/Partitions/0",
                "my policy+1",
                K,
                "sr=sb%3A%2F%2Fns.servicebus.windows.net%2FHub%20One%2FConsumerGroups%2F%24Default%2FPartitions%2F0&sig=uGgTjBLTCNV8bSwo%2Ftx7cvLhjSdxHRbOwy%2BER9QyPlM%3D&se=1700003600&skn=my%20policy%2B1",
            ),
            (
                "amqps://ns.servicebus.windows.net/hub1",
                "Root",
                K,
                "sr=amqps%3a%2f%2fns.servicebus.windows.net%2fhub1&sig=Tk8PUKqncSnKy8I%2BOCOZEw4AZz6arzgtj8A6uRdlwf8%3D&se=1700003600&skn=Root",
            ),
        ]
    }

    #[test]
    fn the_tokens_of_every_sdk_are_accepted() {
        for (audience, policy, secret, fields) in vectors() {
            let token = format!("SharedAccessSignature {fields}");
            let expiry = verify(&token, audience, &key(policy, secret), BEFORE);
            assert_eq!(expiry, Ok(1_700_003_600_000), "{fields}");
        }
    }

    #[test]
    fn a_token_signed_with_another_key_is_refused() {
        for (audience, policy, _, fields) in vectors() {
            let token = format!("SharedAccessSignature {fields}");
            let refusal = verify(&token, audience, &key(policy, "another key"), BEFORE).unwrap_err();
            assert!(refusal.starts_with("InvalidSignature"), "{refusal}");
            let refusal = verify(&token, audience, &key("another name", K), BEFORE).unwrap_err();
            assert!(refusal.starts_with("InvalidSignature"), "{refusal}");
        }
    }

    #[test]
    fn a_token_whose_expiry_was_changed_is_refused() {
        let (audience, policy, secret, fields) = vectors()[1];
        let token = format!("SharedAccessSignature {}", fields.replace("1700003600", "1800003600"));
        assert!(
            verify(&token, audience, &key(policy, secret), BEFORE)
                .unwrap_err()
                .starts_with("InvalidSignature")
        );
    }

    #[test]
    fn an_expired_token_is_refused() {
        let (audience, policy, secret, fields) = vectors()[1];
        let token = format!("SharedAccessSignature {fields}");
        let refusal = verify(&token, audience, &key(policy, secret), 1_700_003_600_000).unwrap_err();
        assert!(refusal.starts_with("ExpiredToken"), "{refusal}");
    }

    #[test]
    fn a_token_opens_its_entity_and_what_lies_below() {
        let hub = "SB://other.host/HUB1/";
        for entity in ["sb://ns/hub1", "hub1/ConsumerGroups/$Default/Partitions/0", "/hub1/$management"] {
            assert!(covers(hub, entity), "{entity}");
        }
        for entity in ["hub10", "hub", "sb://ns/hub2/consumergroups/$Default", ""] {
            assert!(!covers(hub, entity), "{entity}");
        }
        assert!(covers("sb://ns/", "hub1"));
    }

    #[test]
    fn a_malformed_token_is_refused_without_showing_it() {
        for token in [
            "",
            "sr=a&sig=b&se=1&skn=c",
            "SharedAccessSignature sr=a&sig=b&se=1",
            "SharedAccessSignature sr=a&sig=b&se=x&skn=c",
        ] {
            let refusal = verify(token, "sb://ns/hub1", &key("Root", K), BEFORE).unwrap_err();
            assert!(refusal.starts_with("MalformedToken"), "{refusal}");
        }
    }
}
