use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use eventhubs_amqp::{
    AccessToken, ConnectionOptions, ConnectionString, EventHubClient, TokenCredential, TokenError,
};
use eventhubs_emulator::Emulator;
use eventhubs_types::StartingPosition;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{client, client_builder, open, receive, texts};
use crate::transports::HttpProxy;

const BODY: &str = "what the event says is nobody's business";

const KEY: &str = "canary-c2VjcmV0LWtleS1ub2JvZHktbWF5LXNlZQ==";

/// What replaces it while the program runs.
const LATER_KEY: &str = "canary-bGF0ZXItbm9ib2R5LW1heS1zZWUtaXQtZWl0aGVy==";

/// Believed by the emulator, as nobody has signed it.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJvaWQiOiJub2JvZHkifQ.canary";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// An error with all its causes, as programs print them.
fn whole(error: &dyn Error) -> String {
    format!("{error} {error:?} {}", error.source().map(whole).unwrap_or_default())
}

/// What everybody logged meanwhile, we and the AMQP library.
async fn log_of(doing: impl Future<Output = ()>) -> String {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let recording = tracing::subscriber::set_default(subscriber);
    doing.await;
    drop(recording);
    let log = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
    assert!(log.contains("fe2o3_amqp"), "the log of the library below us is recorded");
    log
}

#[track_caller]
fn assert_hidden(secrets: &[&str], log: &str, shown: &str) {
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is logged: {}", line_with(log, secret));
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
    }
}

fn line_with<'a>(log: &'a str, secret: &str) -> &'a str {
    log.lines().find(|line| line.contains(secret)).unwrap_or_default()
}

/// No key, token, signature or body in any log, ours and the AMQP library's, or in any
/// error or Debug.
#[tokio::test]
async fn no_secret_is_ever_shown() {
    let mut shown = Vec::new();
    let log = log_of(async {
        let emulator = Emulator::builder()
            .event_hub("orders", 1)
            .shared_access_key("Listen", KEY)
            .shared_access_key("Later", LATER_KEY)
            .start()
            .await
            .unwrap();
        emulator.publish_to("orders", "0", texts(0..10)).unwrap();
        let good = client(&emulator);
        let mut receiver = open(&good, StartingPosition::Earliest).await;
        let events = receive(&mut receiver, 10).await;
        good.event_hub_properties().await.unwrap();
        emulator.drop_connections();
        let producer = good.producer();
        producer.send([BODY]).await.unwrap();
        assert_eq!(receive(&mut receiver, 1).await[0].body_as_str().unwrap(), BODY);
        let text = emulator.connection_string("orders");
        let replaced = |name: &str, key: &str| {
            let text = text.replace("SharedAccessKeyName=Listen", &format!("SharedAccessKeyName={name}"));
            ConnectionString::parse(&text.replace(KEY, key)).unwrap()
        };
        let later = replaced("Later", LATER_KEY);
        good.update_connection_string(&later).unwrap();
        emulator.expire_tokens();
        producer.send([BODY]).await.unwrap();
        assert_eq!(receive(&mut receiver, 1).await.len(), 1);
        let wrong = replaced("Other", KEY);
        let building = EventHubClient::builder(wrong.clone());
        shown.push(format!(
            "{good:?} {receiver:?} {events:?} {producer:?} {later:?} {later} {wrong:?} {building:?}"
        ));
        let refused = building.build().unwrap();
        shown.push(whole(&refused.event_hub_properties().await.unwrap_err()));
        shown.push(whole(&refused.producer().send([BODY]).await.unwrap_err()));
        receiver.close().await.unwrap();
        good.close().await;
    })
    .await;
    assert!(log.contains("token put"), "our own log is recorded");
    let escaped = [KEY, LATER_KEY].map(|key| key.replace('=', "%3D"));
    let signatures = ["sig=", "sig%3D", "SharedAccessSignature sr", "canary"];
    assert_hidden(
        &[&[KEY, LATER_KEY, BODY, &escaped[0], &escaped[1]][..], &signatures].concat(),
        &log,
        &shown.concat(),
    );
}

/// A credential that shows its token itself, which we must not pass on.
#[derive(Debug, Clone)]
struct Issues(&'static str);

#[async_trait]
impl TokenCredential for Issues {
    async fn token(&self, _: &str) -> Result<AccessToken, TokenError> {
        Ok(AccessToken::new(self.0, SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)))
    }
}

#[tokio::test]
async fn no_token_of_a_credential_is_ever_shown() {
    let mut shown = Vec::new();
    let log = log_of(async {
        let emulator = Emulator::builder().event_hub("orders", 1).start().await.unwrap();
        for token in [TOKEN, "canary-that-is-no-token"] {
            let building =
                EventHubClient::with_credential(emulator.address().to_string(), "orders", Issues(token));
            let building = building.use_development_emulator();
            shown.push(format!("{building:?} {:?}", Issues(token).token("").await.unwrap()));
            let client = building.build().unwrap();
            shown.push(format!("{client:?}"));
            match client.event_hub_properties().await {
                Ok(_) => assert_eq!(token, TOKEN),
                Err(refused) => shown.push(whole(&refused)),
            }
            client.close().await;
        }
    })
    .await;
    assert_hidden(&[TOKEN, "canary"], &log, &shown.concat());
}

#[tokio::test]
async fn no_password_of_a_proxy_or_in_an_address_is_ever_shown() {
    let mut shown = Vec::new();
    let log = log_of(async {
        let emulator = Emulator::builder().event_hub("orders", 1).start().await.unwrap();
        let proxy = HttpProxy::start().await;
        for credentials in ["user:secret@", "user:canary@"] {
            let options = proxy.options(credentials);
            let building = client_builder(&emulator.connection_string("orders")).connection(options.clone());
            shown.push(format!("{options:?} {building:?}"));
            let client = building.build().unwrap();
            match client.event_hub_properties().await {
                Ok(_) => assert_eq!(credentials, "user:secret@"),
                Err(refused) => shown.push(whole(&refused)),
            }
            client.close().await;
        }
        let address = "sb://user:canary@gateway.example";
        shown.push(whole(&ConnectionOptions::new().custom_endpoint(address).unwrap_err()));
        shown.push(whole(&ConnectionOptions::new().proxy("http://user:canary@proxy:port").unwrap_err()));
        let building = EventHubClient::with_credential(address, "orders", Issues(TOKEN));
        shown.push(format!("{building:?}"));
        shown.push(whole(&building.build().unwrap_err()));
    })
    .await;
    // as they are, and as they go to the proxy
    assert_hidden(&["user:secret", "dXNlcjpzZWNyZXQ", "canary", "dXNlcjpjYW5hcnk"], &log, &shown.concat());
}
