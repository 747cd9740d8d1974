//! The way through an HTTP proxy: a tunnel to the service that the proxy cannot look into.

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::endpoint::Address;
use crate::transport::Io;
use crate::{Error, ErrorKind, Result};

/// The most that a proxy may say before the tunnel begins, in bytes.
const MAX_ANSWER: usize = 8 * 1024;

const MAX_HEADERS: usize = 64;
/// The empty line after the headers.
const END: &[u8] = b"\r\n\r\n";

/// An HTTP proxy, and who we are to it.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: Address,
    /// The header `Proxy-Authorization`.
    authorization: Option<SecretString>,
}

impl Proxy {
    /// Reads `http://user:password@host:port`. The error is the reason and holds no part of the text.
    pub(crate) fn parse(url: &str) -> std::result::Result<Self, String> {
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
    ) -> std::result::Result<Option<Self>, String> {
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

    /// Asks the proxy, over a stream to it, for a tunnel to `target`, a host with its port.
    pub(crate) async fn tunnel(&self, stream: &mut dyn Io, target: &Address) -> Result<()> {
        let failed =
            |error| Error::new(ErrorKind::Transport, "asking the proxy for a tunnel").with_source(error);
        stream.write_all(self.request(target).expose_secret().as_bytes()).await.map_err(failed)?;
        let answer = read_head(stream).await.map_err(failed)?;
        match status(&answer) {
            // In a tunnel it is the client who begins.
            Some(200..=299) if answer.ends_with(END) => Ok(()),
            Some(407) => Err(Error::new(ErrorKind::Unauthorized, "proxy: wants other credentials (407)")),
            Some(200..=299) => {
                Err(Error::new(ErrorKind::Protocol, "the proxy said more than that the tunnel is open"))
            }
            Some(code) => Err(Error::new(ErrorKind::Transport, format!("the proxy answered {code}"))),
            None => Err(Error::new(ErrorKind::Protocol, "the proxy did not answer in HTTP")),
        }
    }

    fn request(&self, target: &Address) -> SecretString {
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

fn decoded(credentials: &str) -> std::result::Result<SecretString, String> {
    let decoded = percent_decode_str(credentials).decode_utf8();
    let decoded = decoded.map_err(|_| "has credentials that are not UTF-8")?;
    if decoded.contains(char::is_control) {
        return Err("has credentials with a control character".to_owned());
    }
    Ok(decoded.into_owned().into())
}

/// Reads up to the empty line, and what has come with it: a refusal may have a body.
async fn read_head(stream: &mut dyn Io) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(END.len()).any(|bytes| bytes == END) {
        if head.len() >= MAX_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a long answer"));
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(head).ok()?;
    response.code
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;
    use tokio::time::timeout;

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

    #[tokio::test]
    async fn the_answer_of_the_proxy_decides() {
        for (answer, kind) in [
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
                ErrorKind::Unauthorized,
            ),
            ("HTTP/1.0 502 Bad Gateway\r\n\r\n", ErrorKind::Transport),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", ErrorKind::Protocol),
            ("220 smtp.example ready\r\n\r\n", ErrorKind::Protocol),
            ("HTTP/1.1 200 Conn", ErrorKind::Transport),
        ] {
            assert_eq!(answered(answer.as_bytes()).await.unwrap_err().kind(), kind, "{answer}");
        }
        assert_eq!(answered(&[b'x'; 2 * MAX_ANSWER]).await.unwrap_err().kind(), ErrorKind::Transport);
        answered(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_with_a_body_is_read_from_a_proxy_that_does_not_hang_up() {
        let (mut ours, mut theirs) = duplex(1024);
        let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 99\r\n\r\n<html>";
        theirs.write_all(answer).await.unwrap();
        let proxy = Proxy::parse("http://proxy").unwrap();
        let refused =
            timeout(Duration::from_secs(60), proxy.tunnel(&mut ours, &target())).await.expect("an answer");
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthorized);
    }

    async fn answered(answer: &[u8]) -> Result<()> {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        Proxy::parse("http://proxy").unwrap().tunnel(&mut ours, &target()).await
    }
}
