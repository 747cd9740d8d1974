//! What may be around AMQP: TLS, a WebSocket, or both, all on the one port.

use std::sync::Arc;

use eventhubs_emulator::Emulator;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

use crate::client::{Client, Reading, next, orders, text, within};
use crate::wire::{OPENED, opened};

/// A TLS client that trusts nothing but the certificate of this emulator.
async fn tls(emulator: &Emulator, name: &'static str) -> TlsStream<TcpStream> {
    let certificate = CertificateDer::from_pem_slice(emulator.certificate_pem().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(emulator.address()).await.unwrap();
    let connecting =
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream);
    within(connecting).await.unwrap()
}

/// Opens a WebSocket and gives it with the sub-protocol that was chosen.
async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    path: &str,
    protocols: &'static str,
) -> Result<(WebSocketStream<S>, String), tungstenite::Error> {
    let mut request = format!("ws://localhost{path}").into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocols));
    let (socket, response) = within(client_async(request, stream)).await?;
    let chosen = response.headers()["Sec-WebSocket-Protocol"].to_str().unwrap().to_owned();
    Ok((socket, chosen))
}

/// Opens AMQP byte by byte, each in a message of its own, and reads until the broker has opened too.
async fn amqp_byte_by_byte<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    for byte in opened("ANONYMOUS") {
        socket.send(Message::binary(vec![byte])).await.unwrap();
    }
    let mut answer = Vec::new();
    while !answer.windows(OPENED.len()).any(|window| window == OPENED) {
        let message = within(socket.next()).await.expect("an open socket").unwrap();
        assert!(message.is_binary() || message.is_close(), "{message:?}");
        answer.extend_from_slice(&message.into_data());
    }
}

#[tokio::test]
async fn a_client_that_trusts_the_certificate_reads_over_tls() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    for name in ["localhost", "127.0.0.1"] {
        let stream = tls(&emulator, name).await;
        let mut client = Client::over(stream).await;
        client.authorize().await;
        let mut receiver = client.read("0", Reading::default()).await.unwrap();
        assert_eq!(text(&next(&mut receiver).await), "event");
    }
}

#[tokio::test]
async fn messages_of_a_websocket_need_not_hold_whole_frames() {
    let emulator = orders().await;
    let stream = TcpStream::connect(emulator.address()).await.unwrap();
    let (socket, protocol) = websocket(stream, "/$servicebus/websocket", "AMQPWSB10").await.unwrap();
    assert_eq!(protocol, "AMQPWSB10");
    amqp_byte_by_byte(socket).await;
}

#[tokio::test]
async fn the_rust_sdk_offers_another_sub_protocol_and_a_slash_more() {
    let emulator = orders().await;
    let stream = TcpStream::connect(emulator.address()).await.unwrap();
    let (socket, protocol) = websocket(stream, "/$servicebus/websocket/", "amqp").await.unwrap();
    assert_eq!(protocol, "amqp");
    amqp_byte_by_byte(socket).await;
}

#[tokio::test]
async fn a_websocket_may_be_in_tls() {
    let emulator = orders().await;
    let stream = tls(&emulator, "localhost").await;
    let (socket, _) = websocket(stream, "/$servicebus/websocket", "other, AMQPWSB10").await.unwrap();
    amqp_byte_by_byte(socket).await;
}

#[tokio::test]
async fn a_websocket_for_anything_else_is_refused() {
    let emulator = orders().await;
    for (path, protocols, status) in [("/", "AMQPWSB10", 404), ("/$servicebus/websocket", "mqtt", 400)] {
        let stream = TcpStream::connect(emulator.address()).await.unwrap();
        match websocket(stream, path, protocols).await {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), status),
            other => panic!("{other:?}"),
        }
    }
}

/// Opens a WebSocket as a client does that says this of itself; the status of the answer.
async fn status_for(emulator: &Emulator, host: &str, origin: Option<&'static str>) -> u16 {
    let stream = TcpStream::connect(emulator.address()).await.unwrap();
    let mut request = format!("ws://{host}/$servicebus/websocket").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("AMQPWSB10"));
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", HeaderValue::from_static(origin));
    }
    match within(client_async(request, stream)).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_page_of_another_site_gets_no_websocket() {
    let emulator = Emulator::builder().event_hub("orders", 1).allow_host("emulator").start().await.unwrap();
    for (host, origin, status) in [
        ("127.0.0.1:5672", None, 101),
        // Python's library says so of itself.
        ("127.0.0.1:5672", Some("http://127.0.0.1:5672"), 101),
        ("emulator:5672", None, 101),
        ("127.0.0.1:5672", Some("http://evil.example"), 403),
        ("127.0.0.1:5672", Some("http://127.0.0.1:8080"), 403),
        ("127.0.0.1:5672", Some("null"), 403),
        // The name of a page that leads here by DNS rebinding.
        ("evil.example:5672", Some("http://evil.example:5672"), 403),
        ("evil.example:5672", None, 403),
    ] {
        assert_eq!(status_for(&emulator, host, origin).await, status, "{host} {origin:?}");
    }
}

#[tokio::test]
async fn a_text_message_ends_its_connection_only() {
    let emulator = orders().await;
    let stream = TcpStream::connect(emulator.address()).await.unwrap();
    let (mut socket, _) = websocket(stream, "/$servicebus/websocket", "AMQPWSB10").await.unwrap();
    socket.send(Message::text("AMQP")).await.unwrap();
    within(async { while let Some(Ok(_)) = socket.next().await {} }).await;
    Client::connect(&emulator).await;
}
