//! AMQP in a WebSocket: binary messages whose borders mean nothing (docs/contract.md §2).

use std::future::ready;
use std::io;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio::io::join;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::transport::hosts::AllowedHosts;
use crate::transport::stream::{AnyStream, starts_with};

const PATH: &str = "/$servicebus/websocket";
/// What the SDKs offer; the library of the Rust SDK offers the second (docs/contract.md §2).
const PROTOCOLS: [&str; 2] = ["AMQPWSB10", "amqp"];
/// The largest message that a client may send, in bytes; it may hold several AMQP frames.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// What may wait for the socket, in bytes.
const MAX_UNSENT: usize = 4 * 1024 * 1024;

/// Takes the WebSocket off, if the client opens one.
///
/// # Errors
/// When the handshake fails; the client learns why over HTTP.
#[expect(clippy::result_large_err, reason = "the library wants it so")]
pub(crate) async fn accept(stream: AnyStream, hosts: &AllowedHosts) -> io::Result<AnyStream> {
    let (stream, is_http) = starts_with(stream, b'G').await?;
    if !is_http {
        return Ok(stream);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .max_write_buffer_size(MAX_UNSENT);
    let socket = accept_hdr_async_with_config(
        stream,
        |request: &Request, response| check(request, response, hosts),
        Some(config),
    )
    .await;
    let (sink, messages) = socket.map_err(io::Error::other)?.split();
    let sink = sink.with(|bytes: Bytes| ready(Ok::<_, Broken>(Message::Binary(bytes))));
    let messages = messages.map_err(io::Error::other).try_filter_map(|message| ready(payload(message)));
    Ok(Box::new(join(StreamReader::new(messages), SinkWriter::new(CopyToBytes::new(sink)))))
}

/// An error of the socket on its way to becoming one of I/O. The adapter of `futures` for that panics at the second one.
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

#[expect(clippy::result_large_err, reason = "the library wants it so")]
fn check(request: &Request, mut response: Response, hosts: &AllowedHosts) -> Result<Response, ErrorResponse> {
    check_sender(request, hosts).map_err(|why| refusal(StatusCode::FORBIDDEN, why))?;
    let path = request.uri().path().trim_end_matches('/');
    if !path.eq_ignore_ascii_case(PATH) {
        return Err(refusal(StatusCode::NOT_FOUND, "AMQP is at /$servicebus/websocket"));
    }
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
    let Some(protocol) = offered.find_map(|name| PROTOCOLS.into_iter().find(|known| *known == name)) else {
        return Err(refusal(StatusCode::BAD_REQUEST, "the sub-protocol is not AMQPWSB10"));
    };
    let headers = response.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(response)
}

/// The page of another site must not reach the events: browsers let every page open a WebSocket to this machine.
fn check_sender(request: &Request, hosts: &AllowedHosts) -> Result<(), &'static str> {
    let text =
        |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if !hosts.allows(host) {
        return Err("the Host header names neither this machine nor an allowed host");
    }
    match text(header::ORIGIN) {
        Some(origin) if !AllowedHosts::is_same_origin(origin, host) => {
            Err("the Origin header is that of another site")
        }
        _ => Ok(()),
    }
}

fn refusal(status: StatusCode, why: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(why.to_owned()));
    *response.status_mut() = status;
    response
}
