//! AMQP in a WebSocket: binary messages whose borders mean nothing.
//!
//! Tests: `tests/it/transports.rs`.

use std::future::ready;
use std::io;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio::io::join;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::config::endpoint::Address;
use crate::transport::stream::Io;

const PROTOCOL: &str = "AMQPWSB10";

/// The largest message that the service may send, in bytes; it may hold several AMQP frames.
const MAX_WEBSOCKET_MESSAGE: usize = 4 * 1024 * 1024;

/// What may wait for the socket, in bytes.
const MAX_UNSENT: usize = 4 * 1024 * 1024;

/// Opens a WebSocket over a stream to `service`, with or without TLS below.
pub(crate) async fn open(stream: Box<dyn Io>, service: &Address, tls: bool) -> io::Result<Box<dyn Io>> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_WEBSOCKET_MESSAGE))
        .max_frame_size(Some(MAX_WEBSOCKET_MESSAGE))
        .max_write_buffer_size(MAX_UNSENT);
    let request = request(service, tls).map_err(io::Error::other)?;
    let opened = client_async_with_config(request, stream, Some(config)).await;
    let (sink, messages) = opened.map_err(io::Error::other)?.0.split();
    let sink = sink.with(|bytes: Bytes| ready(Ok::<_, Broken>(Message::Binary(bytes))));
    let messages = messages.map_err(io::Error::other).try_filter_map(|message| ready(payload(message)));
    Ok(Box::new(join(StreamReader::new(messages), SinkWriter::new(CopyToBytes::new(sink)))))
}

fn request(service: &Address, tls: bool) -> Result<Request, Error> {
    let scheme = if tls { "wss" } else { "ws" };
    let mut request = format!("{scheme}://{service}/$servicebus/websocket").into_client_request()?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    Ok(request)
}

/// An error of the socket on its way to becoming one of I/O. The adapter of `futures` for that panics at the
/// second one.
struct Broken(Error);

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::other(broken.0)
    }
}

fn payload(message: Message) -> io::Result<Option<Bytes>> {
    match message {
        Message::Binary(bytes) => Ok(Some(bytes)),
        Message::Text(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")),
        _ => Ok(None),
    }
}
