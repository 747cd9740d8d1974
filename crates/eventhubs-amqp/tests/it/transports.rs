use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use eventhubs_amqp::{ConnectionOptions, ErrorKind, EventHubClient};
use eventhubs_emulator::Emulator;
use eventhubs_types::StartingPosition;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{client_builder, emulator, numbers, open, partition, receive, texts, within};

/// `user:secret`
const AUTHORIZATION: &str = "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=";

fn plain(emulator: &Emulator, options: ConnectionOptions) -> EventHubClient {
    client_builder(&emulator.connection_string("orders")).connection(options).build().unwrap()
}

/// Over TLS, which the emulator speaks on the same port.
fn secure(emulator: &Emulator, options: ConnectionOptions) -> EventHubClient {
    let text = emulator
        .connection_string("orders")
        .replace(&emulator.address().ip().to_string(), "localhost")
        .replace("UseDevelopmentEmulator=true", "UseDevelopmentEmulator=false");
    let options = options.trust(emulator.certificate_pem()).unwrap();
    client_builder(&text).connection(options).build().unwrap()
}

/// Reads small and large events, and again after the connection is lost.
async fn works(emulator: &Emulator, client: EventHubClient) {
    assert_eq!(within(client.event_hub_properties()).await.unwrap().partition_ids.len(), 4);
    let mut receiver = open(&client, StartingPosition::Latest).await;
    let before = within(client.partition_properties(&partition("0"))).await.unwrap();
    let first = before.last_enqueued_sequence_number.unwrap().value() + 1;
    emulator.publish_to("orders", "0", texts(0..500)).unwrap();
    emulator.publish_to("orders", "0", ["x".repeat(900_000)]).unwrap();
    emulator.drop_connections();
    emulator.publish_to("orders", "0", texts(501..600)).unwrap();
    let events = receive(&mut receiver, 600).await;
    assert_eq!(numbers(&events), (first..first + 600).collect::<Vec<_>>());
    receiver.close().await.unwrap();
    client.close().await;
}

#[tokio::test]
async fn events_come_over_tls_and_in_websockets() {
    let emulator = emulator().await;
    works(&emulator, secure(&emulator, ConnectionOptions::new())).await;
    works(&emulator, plain(&emulator, ConnectionOptions::new().websocket())).await;
    works(&emulator, secure(&emulator, ConnectionOptions::new().websocket())).await;
}

#[tokio::test]
async fn events_come_through_a_proxy() {
    let emulator = emulator().await;
    let proxy = HttpProxy::start().await;
    works(&emulator, plain(&emulator, proxy.options("user:secret@"))).await;
    works(&emulator, secure(&emulator, proxy.options("user:secret@"))).await;
    let port = emulator.address().port();
    let asked = proxy.asked();
    assert!(asked.iter().any(|target| *target == format!("127.0.0.1:{port}")), "{asked:?}");
    assert!(
        asked.iter().any(|target| *target == format!("localhost:{port}")),
        "the proxy looks the name up: {asked:?}"
    );
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_named_as_the_cause() {
    let emulator = emulator().await;
    let proxy = HttpProxy::start().await;
    for credentials in ["", "user:canary@"] {
        let client = plain(&emulator, proxy.options(credentials));
        let error = within(client.event_hub_properties()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains("proxy"), "{error}");
        assert!(!format!("{error:?} {client:?} {:?}", proxy.options(credentials)).contains("canary"));
    }
}

/// Contract §2: the service is still addressed by its own name.
#[tokio::test]
async fn a_custom_endpoint_is_dialled_in_place_of_the_namespace() {
    let emulator = emulator().await;
    let port = emulator.address().port();
    let text = emulator
        .connection_string("orders")
        .replace(&format!("127.0.0.1:{port}"), "localhost")
        .replace("UseDevelopmentEmulator=true", "UseDevelopmentEmulator=false");
    let options = || {
        let address = format!("sb://127.0.0.1:{port}");
        ConnectionOptions::new().trust(emulator.certificate_pem()).unwrap().custom_endpoint(&address).unwrap()
    };
    for options in [options(), options().websocket()] {
        let client = client_builder(&text).connection(options).build().unwrap();
        assert_eq!(client.namespace().as_str(), "localhost");
        works(&emulator, client).await;
    }
    let error = ConnectionOptions::new().custom_endpoint("ftp://gateway").unwrap_err();
    assert!(error.to_string().contains("custom endpoint: has a scheme"), "{error}");
}

#[tokio::test]
async fn a_server_without_websockets_is_a_broken_connection() {
    let emulator = emulator().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let options = ConnectionOptions::new().websocket().custom_endpoint(&address).unwrap();
    let error = within(plain(&emulator, options).event_hub_properties()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(error.to_string().contains("opening a WebSocket to 127.0.0.1"), "{error}");
}

/// An HTTP proxy that tunnels for those who know the password.
pub(crate) struct HttpProxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<_>>>::default());
        let asking = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, Arc::clone(&asking)));
            }
        });
        Self { port, asked }
    }

    pub(crate) fn options(&self, credentials: &str) -> ConnectionOptions {
        ConnectionOptions::new().proxy(&format!("http://{credentials}127.0.0.1:{}", self.port)).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn tunnel(mut client: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(client.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
    if !request.lines().any(|line| line == AUTHORIZATION) {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        return;
    }
    asked.lock().unwrap().push(target.to_owned());
    let mut server = TcpStream::connect(target).await.unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
