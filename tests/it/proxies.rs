//! One rule for proxies on both halves: the environment names one for what goes over HTTP, never for this machine, and the option
//! `proxy` comes first. The environment is that of a child process, so that no other test sees it.

use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{PATIENCE, within};
use eventhubs_tests::{Consumer, HUB};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

const ACCESS: &str = "SharedAccessKeyName=Root;SharedAccessKey=a2V5";
const STORAGE: &str =
    "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=a2V5;EndpointSuffix=core.windows.net";

/// A proxy that refuses everything.
struct RefusingProxy {
    listener: TcpListener,
}

impl RefusingProxy {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn url(&self) -> String {
        format!("http://user:pass@{}", self.listener.local_addr().unwrap())
    }

    /// The request line of the next client, and its credentials.
    async fn asked(&self) -> (String, Option<String>) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut lines = BufReader::new(&mut stream).lines();
        let request = lines.next_line().await.unwrap().unwrap();
        let mut credentials = None;
        while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            if name.eq_ignore_ascii_case("proxy-authorization") {
                credentials = Some(value.to_owned());
            }
        }
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        (request, credentials)
    }
}

/// The first that a consumer asks the proxy for which its environment names.
async fn asked_by(event_hub: &str, websocket: bool, storage: &str) -> (String, Option<String>) {
    let proxy = RefusingProxy::start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_instance"));
    command
        .env("HTTPS_PROXY", proxy.url())
        .env("HTTP_PROXY", proxy.url())
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env("EVENT_HUB", event_hub)
        .env("STORE", format!("blob checkpoints {storage}"))
        .env("EXPIRY_SECONDS", "10")
        .env("CHECKPOINT_EVERY", "1");
    if websocket {
        command.env("WEB_SOCKET", "1");
    }
    let _consumer = Consumer::start(&mut command);
    within(PATIENCE, proxy.asked()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_the_proxy_of_both_halves() {
    let credentials = Some("Basic dXNlcjpwYXNz".to_owned());
    let hub = format!("Endpoint=sb://contoso.servicebus.windows.net/;{ACCESS};EntityPath=orders");
    let (request, shown) = asked_by(&hub, true, STORAGE).await;
    assert_eq!(request, "CONNECT contoso.servicebus.windows.net:443 HTTP/1.1");
    assert_eq!(shown, credentials);

    // The emulator is on this machine, so that the storage account is the first that is asked for.
    let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
    for websocket in [true, false] {
        let (request, shown) = asked_by(&emulator.connection_string(HUB), websocket, STORAGE).await;
        assert_eq!(request, "CONNECT contoso.blob.core.windows.net:443 HTTP/1.1");
        assert_eq!(shown, credentials);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_goes_through_the_proxy_that_it_was_given() {
    let proxy = RefusingProxy::start().await;
    let store = BlobCheckpointStore::builder(STORAGE, "checkpoints").proxy(&proxy.url()).build().unwrap();
    let creating = tokio::spawn(async move { store.create_container_if_absent().await });
    let (request, _) = within(PATIENCE, proxy.asked()).await;
    assert_eq!(request, "CONNECT contoso.blob.core.windows.net:443 HTTP/1.1");
    creating.abort();

    let bad = BlobCheckpointStore::builder(STORAGE, "checkpoints").proxy("socks5://user:secret@proxy");
    assert_eq!(
        bad.build().unwrap_err().to_string(),
        "invalid argument: proxy: is not a URL that begins with http://"
    );
}
