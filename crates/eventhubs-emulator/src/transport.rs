//! What is around AMQP on the port, told by the first byte of a client: nothing, TLS, a WebSocket, or both.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::broker::Broker;

/// A stream of any make.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(crate) type AnyStream = Box<dyn Stream>;

/// Takes off what is around AMQP.
///
/// # Errors
/// When the client ends or breaks the handshake of TLS or of the WebSocket.
#[cfg_attr(
    not(any(feature = "tls", feature = "websocket")),
    expect(unused_variables, reason = "certificate and hosts are there")
)]
#[cfg_attr(
    not(any(feature = "tls", feature = "websocket")),
    expect(clippy::unused_async, reason = "without features AMQP is bare")
)]
pub(crate) async fn accept(stream: TcpStream, broker: &Broker) -> io::Result<AnyStream> {
    let stream: AnyStream = Box::new(stream);
    #[cfg(feature = "tls")]
    let stream = broker.tls.accept(stream).await?;
    #[cfg(feature = "websocket")]
    let stream = crate::websocket::accept(stream, &broker.hosts).await?;
    Ok(stream)
}

/// The stream again, and whether it starts with this byte. Waits for the first byte.
#[cfg(any(feature = "tls", feature = "websocket"))]
pub(crate) async fn starts_with(stream: AnyStream, byte: u8) -> io::Result<(AnyStream, bool)> {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let mut stream = BufReader::new(stream);
    let found = stream.fill_buf().await?.first() == Some(&byte);
    Ok((Box::new(stream), found))
}
