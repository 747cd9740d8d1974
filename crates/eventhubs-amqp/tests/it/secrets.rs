use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex};

use eventhubs_emulator::Emulator;
use eventhubs_types::StartingPosition;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{client, client_builder, open, receive, texts};

const BODY: &str = "what the event says is nobody's business";

const KEY: &str = "canary-c2VjcmV0LWtleS1ub2JvZHktbWF5LXNlZQ==";

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

/// Reliability §6.4: no key, token, signature or body in any log, ours and the AMQP library's, or in any error or Debug.
#[tokio::test]
async fn no_secret_is_ever_shown() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let recording = tracing::subscriber::set_default(subscriber);

    let emulator =
        Emulator::builder().event_hub("orders", 1).shared_access_key("Listen", KEY).start().await.unwrap();
    emulator.publish_to("orders", "0", texts(0..10)).unwrap();
    let good = client(&emulator);
    let mut receiver = open(&good, StartingPosition::Earliest).await;
    let events = receive(&mut receiver, 10).await;
    good.event_hub_properties().await.unwrap();
    emulator.drop_connections();
    emulator.publish_to("orders", "0", [BODY]).unwrap();
    assert_eq!(receive(&mut receiver, 1).await[0].body_as_str().unwrap(), BODY);
    let text = emulator
        .connection_string("orders")
        .replace("SharedAccessKeyName=Listen", "SharedAccessKeyName=Other");
    let refused = client_builder(&text).build().unwrap().event_hub_properties().await.unwrap_err();
    let shown = format!("{good:?} {receiver:?} {events:?} {}", whole(&refused));
    receiver.close().await.unwrap();
    good.close().await;
    drop(recording);

    let log = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
    assert!(log.contains("token put"), "our own log is recorded");
    assert!(log.contains("fe2o3_amqp"), "the log of the library below us is recorded");
    let escaped = KEY.replace('=', "%3D");
    for secret in [KEY, escaped.as_str(), "canary", "sig=", "sig%3D", "SharedAccessSignature sr", BODY] {
        assert!(!log.contains(secret), "{secret} is logged: {}", line_with(&log, secret));
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
    }
}

fn line_with<'a>(log: &'a str, secret: &str) -> &'a str {
    log.lines().find(|line| line.contains(secret)).unwrap_or_default()
}
