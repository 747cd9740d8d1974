//! The way through an HTTP proxy: a tunnel to the service that the proxy cannot look into.
//!
//! Tests: below, and `tests/it/proxy.rs`.

use std::io;

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::endpoint::Address;
use crate::config::proxy::Proxy;
use crate::transport::stream::Io;
use crate::{Error, ErrorKind, Result};

/// The most that a proxy may say before the tunnel begins, in bytes.
const MAX_ANSWER: usize = 8 * 1024;

const MAX_HEADERS: usize = 64;
/// The empty line after the headers.
const END: &[u8] = b"\r\n\r\n";

/// Asks the proxy, over a stream to it, for a tunnel to `target`, a host with its port.
pub(super) async fn open(stream: &mut dyn Io, proxy: &Proxy, target: &Address) -> Result<()> {
    let failed = |error| Error::new(ErrorKind::Transport, "asking the proxy for a tunnel").with_source(error);
    stream.write_all(proxy.request(target).expose_secret().as_bytes()).await.map_err(failed)?;
    let answer = read_head(stream).await.map_err(failed)?;
    match status(&answer) {
        // In a tunnel it is the client who begins.
        Some(200..=299) if answer.ends_with(END) => Ok(()),
        Some(407) => Err(Error::new(ErrorKind::Unauthorized, "proxy: it requires other credentials (407)")),
        Some(200..=299) => Err(Error::new(
            ErrorKind::Protocol,
            "the proxy sent unexpected data before the tunnel was established",
        )),
        Some(code) => Err(Error::new(ErrorKind::Transport, format!("the proxy answered {code}"))),
        None => Err(Error::new(ErrorKind::Protocol, "the proxy did not answer in HTTP")),
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;
    use tokio::time::timeout;

    use super::*;

    fn target() -> Address {
        Address::parse("ns.servicebus.windows.net:443").unwrap()
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
            timeout(Duration::from_secs(60), open(&mut ours, &proxy, &target())).await.expect("an answer");
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthorized);
    }

    async fn answered(answer: &[u8]) -> Result<()> {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        open(&mut ours, &Proxy::parse("http://proxy").unwrap(), &target()).await
    }
}
