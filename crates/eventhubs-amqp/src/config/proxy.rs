//! An HTTP proxy: its URL, its credentials, and what it is asked. `transport/tunnel.rs` asks.
//!
//! Tests: below.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use crate::config::endpoint::Address;

/// An HTTP proxy, and who we are to it.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: Address,
    /// The header `Proxy-Authorization`.
    authorization: Option<SecretString>,
}

impl Proxy {
    /// Reads `http://user:password@host:port`. The error is the reason and holds no part of the text.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or("is not a URL that begins with http://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (authorization, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(basic(&decoded(credentials)?)), authority),
            None => (None, rest),
        };
        Ok(Self { address: Address::of_authority(authority)?, authorization })
    }

    /// The proxy that the environment names for `target`. The error is the reason and holds no part of a URL.
    pub(crate) fn of_environment(
        proxies: &Matcher,
        target: &Address,
        tls: bool,
    ) -> Result<Option<Self>, String> {
        let scheme = if tls { "https" } else { "http" };
        let target = format!("{scheme}://{target}").parse().map_err(|_| "does not fit the host")?;
        let Some(proxy) = proxies.intercept(&target) else { return Ok(None) };
        let (scheme, authority) = (proxy.uri().scheme_str(), proxy.uri().authority());
        let (Some("http"), Some(authority)) = (scheme, authority) else {
            return Err("is not a URL that begins with http://".to_owned());
        };
        let header = proxy.basic_auth().and_then(|header| header.to_str().ok());
        let authorization = header.map(SecretString::from);
        Ok(Some(Self { address: Address::of_authority(authority.as_str())?, authorization }))
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port.unwrap_or(80)
    }

    /// What the proxy is asked for a tunnel to `target`.
    pub(crate) fn request(&self, target: &Address) -> SecretString {
        let authorization = self.authorization.as_ref();
        let authorization =
            authorization.map(|value| format!("Proxy-Authorization: {}\r\n", value.expose_secret()));
        let authorization = authorization.unwrap_or_default();
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n").into()
    }
}

fn basic(credentials: &SecretString) -> SecretString {
    format!("Basic {}", STANDARD.encode(credentials.expose_secret())).into()
}

fn decoded(credentials: &str) -> Result<SecretString, String> {
    let decoded = percent_decode_str(credentials).decode_utf8();
    let decoded = decoded.map_err(|_| "has credentials that are not UTF-8")?;
    if decoded.contains(char::is_control) {
        return Err("has credentials with a control character".to_owned());
    }
    Ok(decoded.into_owned().into())
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Address {
        Address::parse("ns.servicebus.windows.net:443").unwrap()
    }

    #[test]
    fn a_proxy_is_asked_with_the_credentials_of_its_url() {
        let proxy = Proxy::parse("http://us%40er:p%3Ass@proxy.example:3128/").unwrap();
        assert_eq!((proxy.address.host.as_str(), proxy.port()), ("proxy.example", 3128));
        assert_eq!(
            proxy.request(&target()).expose_secret(),
            "CONNECT ns.servicebus.windows.net:443 HTTP/1.1\r\nHost: ns.servicebus.windows.net:443\r\n\
             Proxy-Authorization: Basic dXNAZXI6cDpzcw==\r\n\r\n"
        );
        let open = Proxy::parse("http://proxy.example").unwrap();
        assert_eq!(open.port(), 80);
        assert!(!open.request(&target()).expose_secret().contains("Authorization"));
        assert!(!format!("{proxy:?}").contains("p:ss"));
    }

    #[test]
    fn a_bad_url_is_refused_without_being_shown() {
        for (url, reason) in [
            ("https://user:secret@proxy", "begins with http://"),
            ("proxy:3128", "begins with http://"),
            ("http://user:secret@proxy:port", "bad port"),
            ("http://user:secret@", "empty"),
            ("http://user:sec%0aret@proxy", "control character"),
            ("http://user:sec%ffret@proxy", "not UTF-8"),
            ("http://proxy/path", "not a host name"),
        ] {
            let error = Proxy::parse(url).unwrap_err();
            assert!(error.contains(reason) && !error.contains("sec"), "{url}: {error}");
        }
    }

    #[test]
    fn the_environment_names_a_proxy_and_the_hosts_that_need_none() {
        let proxies = Matcher::builder().https("http://us%40er:p@proxy.example:3128").no("inside.example");
        let proxies = proxies.build();
        let of =
            |host: &str, tls| Proxy::of_environment(&proxies, &Address::parse(host).unwrap(), tls).unwrap();
        let proxy = of("ns.servicebus.windows.net:443", true).unwrap();
        assert_eq!(proxy.address.to_string(), "proxy.example:3128");
        let request = proxy.request(&target());
        assert!(request.expose_secret().contains("Proxy-Authorization: Basic dXNAZXI6cA==\r\n"));
        assert!(of("ns.inside.example:443", true).is_none());
        assert!(of("ns.servicebus.windows.net:80", false).is_none());

        let socks = Matcher::builder().all("socks5://user:secret@proxy.example").build();
        let error = Proxy::of_environment(&socks, &target(), true).unwrap_err();
        assert_eq!(error, "is not a URL that begins with http://");
    }
}
