//! Connection strings, and what libpq reads in them that the driver does not.

use std::ops::Range;
use std::time::Duration;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Config;

/// How long connecting to one host may take, unless the connection string has a `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What libpq knows, and what to do instead.
const UNSUPPORTED: [(&str, &str); 8] = [
    ("sslrootcert", "give the certificates to `trust`"),
    ("sslcert", "client certificates are not supported"),
    ("sslkey", "client certificates are not supported"),
    ("sslcrl", "revocation lists are not supported"),
    ("passfile", "read the password before, and put it into the string"),
    ("service", "service files are not read"),
    ("gssencmode", "GSSAPI is not supported"),
    ("krbsrvname", "GSSAPI is not supported"),
];

/// A connection string as it was read.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) config: Config,
    /// `sslmode=verify-full`, which the driver knows as `require`.
    pub(crate) verifies: bool,
}

impl ConnectionInfo {
    /// Reads `key=value` pairs or a URL. No value is repeated in an error.
    pub(crate) fn parse(connection_string: &SecretString) -> Result<Self> {
        let text = connection_string.expose_secret().trim();
        let pairs = if is_url(text) { url_pairs(text) } else { pairs(text) };
        if let Some((key, hint)) = unsupported(text, &pairs) {
            return Err(invalid(&format!("{key} cannot be used here: {hint}")));
        }
        let mode = pairs.iter().rev().find(|pair| &text[pair.key.clone()] == "sslmode");
        let (text, verifies) = match mode {
            Some(pair) => translated(text, pair)?,
            None => (SecretString::from(text), false),
        };
        let config = text.expose_secret().parse::<Config>();
        // The driver's error may repeat what it could not read, which may be a part of the password.
        let mut config = config.map_err(|_| invalid("is neither `key=value` pairs nor a postgres:// URL"))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(invalid("has no host"));
        }
        complete(&mut config);
        Ok(Self { config, verifies })
    }
}

/// The settings that the string may leave out.
fn complete(config: &mut Config) {
    if config.get_application_name().is_none() {
        config.application_name("eventhubs");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
}

/// Where a key and its value are in a connection string.
struct Pair {
    key: Range<usize>,
    value: Range<usize>,
}

fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

fn url_pairs(url: &str) -> Vec<Pair> {
    // A question mark in a password is percent-encoded, so that the first one begins the query.
    let Some(query) = url.find('?') else { return Vec::new() };
    let mut start = query + 1;
    let mut found = Vec::new();
    for pair in url[start..].split('&') {
        if let Some(equals) = pair.find('=') {
            found.push(Pair { key: start..start + equals, value: start + equals + 1..start + pair.len() });
        }
        start += pair.len() + 1;
    }
    found
}

/// Splits as libpq does: spaces around `=` are allowed, a value may be in single quotes, `\` escapes.
fn pairs(text: &str) -> Vec<Pair> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(equals) = text[at..].find('=').map(|length| at + length) {
        let start = at + leading_spaces(&text[at..]);
        let key = start..start + text[start..equals].trim_end().len();
        let value = equals + 1 + leading_spaces(&text[equals + 1..]);
        let end = value + value_length(&text[value..]);
        found.push(Pair { key, value: value..end });
        at = end;
    }
    found
}

fn leading_spaces(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn value_length(text: &str) -> usize {
    let is_quoted = text.starts_with('\'');
    let mut is_escaped = false;
    for (index, char) in text.char_indices().skip(usize::from(is_quoted)) {
        let ends = if is_quoted { char == '\'' } else { char.is_whitespace() };
        if ends && !is_escaped {
            return index + usize::from(is_quoted);
        }
        is_escaped = char == '\\' && !is_escaped;
    }
    text.len()
}

fn unsupported(text: &str, pairs: &[Pair]) -> Option<(&'static str, &'static str)> {
    let is_given = |key: &str| pairs.iter().any(|pair| &text[pair.key.clone()] == key);
    UNSUPPORTED.into_iter().find(|(key, _)| is_given(key))
}

/// The string for the driver, and whether the certificate is verified.
fn translated(text: &str, mode: &Pair) -> Result<(SecretString, bool)> {
    match text[mode.value.clone()].trim_matches('\'') {
        "disable" | "prefer" | "require" => Ok((text.into(), false)),
        "verify-full" => {
            let (before, after) = (&text[..mode.value.start], &text[mode.value.end..]);
            Ok((format!("{before}require{after}").into(), true))
        }
        _ => Err(invalid("sslmode is none of disable, prefer, require and verify-full")),
    }
}

fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("connection string: {reason}"))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    fn parse(text: &str) -> Result<ConnectionInfo> {
        ConnectionInfo::parse(&text.into())
    }

    #[test]
    fn sslmode_is_read_as_libpq_does() {
        for (text, mode, verifies) in [
            ("host=h", SslMode::Prefer, false),
            ("host=h sslmode=disable", SslMode::Disable, false),
            ("host=h sslmode = 'require' dbname=d", SslMode::Require, false),
            ("sslmode=verify-full host=h", SslMode::Require, true),
            ("postgres://u:p@h/d?sslmode=verify-full&connect_timeout=2", SslMode::Require, true),
            ("postgresql://h?sslmode=prefer", SslMode::Prefer, false),
            (r"host=h password='a\' sslmode=verify-full' user=u", SslMode::Prefer, false),
        ] {
            let info = parse(text).unwrap();
            assert_eq!((info.config.get_ssl_mode(), info.verifies), (mode, verifies), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_named_and_no_value_is_repeated() {
        for (text, expected) in [
            ("canary", "neither `key=value` pairs"),
            ("host=h password=can ary", "neither"),
            ("host=h canary=1", "neither"),
            ("user=canary", "has no host"),
            ("host=h sslrootcert=canary", "sslrootcert cannot be used here: give"),
            ("postgres://u:canary@h?sslcert=x", "sslcert cannot"),
            ("host=h sslmode=canary", "sslmode is none of"),
            ("host=h sslmode=verify-ca password=canary", "sslmode is none of"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(!format!("{error}{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let config = parse("host=h").unwrap().config;
        assert_eq!(config.get_application_name(), Some("eventhubs"));
        assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
        let config = parse("host=h application_name=orders connect_timeout=1").unwrap().config;
        assert_eq!(config.get_application_name(), Some("orders"));
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(1)));
    }
}
