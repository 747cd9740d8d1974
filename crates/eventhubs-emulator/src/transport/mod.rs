//! What is around AMQP on the port, told by the first byte of a client: nothing, TLS, a WebSocket, or both.

pub(crate) mod hosts;
pub(crate) mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

use std::io;

use tokio::net::TcpStream;

#[cfg(feature = "websocket")]
use crate::transport::hosts::AllowedHosts;
use crate::transport::stream::AnyStream;
#[cfg(feature = "tls")]
use crate::transport::tls::Tls;

/// What a client may put around AMQP.
#[derive(Debug)]
pub(crate) struct Transports {
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
    /// By which names a WebSocket may come in.
    #[cfg(feature = "websocket")]
    pub(crate) hosts: AllowedHosts,
}

/// Takes off what is around AMQP.
///
/// # Errors
/// When the client ends or breaks the handshake of TLS or of the WebSocket.
#[cfg_attr(
    not(any(feature = "tls", feature = "websocket")),
    expect(unused_variables, reason = "nothing may be around it")
)]
#[cfg_attr(
    not(any(feature = "tls", feature = "websocket")),
    expect(clippy::unused_async, reason = "without features AMQP is bare")
)]
pub(crate) async fn accept(stream: TcpStream, transports: &Transports) -> io::Result<AnyStream> {
    let stream: AnyStream = Box::new(stream);
    #[cfg(feature = "tls")]
    let stream = transports.tls.accept(stream).await?;
    #[cfg(feature = "websocket")]
    let stream = websocket::accept(stream, &transports.hosts).await?;
    Ok(stream)
}
