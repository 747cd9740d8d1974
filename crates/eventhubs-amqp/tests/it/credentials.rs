use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use eventhubs_amqp::{
    AccessToken, ConnectionString, ErrorKind, EventHubClient, RetryPolicy, TokenCredential, TokenError,
};
use eventhubs_emulator::Emulator;
use eventhubs_types::StartingPosition;

use crate::support::{builder, client_builder, emulator, open, receive, texts, until, within};

/// Anything of this form is believed by the emulator, as nobody has signed it.
const JWT: &str = "eyJhbGciOiJub25lIn0.eyJvaWQiOiJub2JvZHkifQ.c2ln";

/// Since 1970.
const FAR_FUTURE: Duration = Duration::from_secs(4_000_000_000);

#[derive(Debug, Clone, Copy)]
enum Issuer {
    Issues(&'static str),
    Fails,
    Hangs,
    Panics,
}

#[derive(Debug)]
struct Issued {
    issuer: Issuer,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl TokenCredential for Issued {
    async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        assert_eq!(scope, "https://eventhubs.azure.net/.default");
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.issuer {
            Issuer::Issues(token) => Ok(AccessToken::new(token, SystemTime::UNIX_EPOCH + FAR_FUTURE)),
            Issuer::Fails => Err(io::Error::other("no managed identity here").into()),
            Issuer::Hangs => pending().await,
            Issuer::Panics => panic!("a defect of the credential"),
        }
    }
}

fn client_of(emulator: &Emulator, issuer: Issuer, retry: RetryPolicy) -> (EventHubClient, Arc<AtomicUsize>) {
    let asked = Arc::default();
    let credential = Issued { issuer, asked: Arc::clone(&asked) };
    let namespace = format!("sb://{}/", emulator.address());
    let client = EventHubClient::with_credential(namespace, "orders", credential);
    (client.use_development_emulator().retry(retry).build().unwrap(), asked)
}

fn quickly() -> RetryPolicy {
    RetryPolicy::fixed(Duration::from_millis(20))
}

#[tokio::test]
async fn the_tokens_of_a_credential_open_everything() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..3)).unwrap();
    let (client, asked) = client_of(&emulator, Issuer::Issues(JWT), quickly());
    assert_eq!(client.event_hub_properties().await.unwrap().partition_ids.len(), 4);
    let mut receiver = open(&client, StartingPosition::Earliest).await;
    receive(&mut receiver, 3).await;
    assert_eq!(asked.load(Ordering::Relaxed), 3, "for the hub, the question and the group");
    emulator.expire_tokens();
    emulator.publish_to("orders", "0", texts(3..4)).unwrap();
    receive(&mut receiver, 1).await;
    let reading = receiver.receive_batch(1, None);
    let asked_again = until("another token", || asked.load(Ordering::Relaxed) > 3);
    tokio::select! {
        _ = reading => panic!("there is nothing more to read"),
        () = asked_again => {}
    }
    assert!(!format!("{client:?}").contains(JWT));
}

#[tokio::test]
async fn a_token_that_is_none_is_unauthorized() {
    let emulator = emulator().await;
    let (client, _) = client_of(&emulator, Issuer::Issues("not a token"), quickly());
    let error = within(client.event_hub_properties()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{error} {error:?}").contains("not a token"));
}

#[tokio::test]
async fn a_credential_without_a_token_is_asked_again_and_then_reported() {
    let emulator = emulator().await;
    let (client, asked) = client_of(&emulator, Issuer::Fails, quickly());
    let error = within(client.event_hub_properties()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credential);
    assert!(error.is_transient());
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "no managed identity here");
    assert_eq!(asked.load(Ordering::Relaxed), 4, "one try and three retries");
}

#[tokio::test]
async fn a_credential_that_hangs_is_a_time_out() {
    let emulator = emulator().await;
    let retry = quickly().max_retries(0).try_timeout(Duration::from_millis(200));
    let (client, _) = client_of(&emulator, Issuer::Hangs, retry);
    let error = within(builder(&client, StartingPosition::Earliest).open()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("getting a token"), "{error}");
}

/// A panic would end what renews the tokens, and poison what all partitions wait for.
#[tokio::test]
async fn a_credential_that_panics_is_one_that_fails() {
    let emulator = emulator().await;
    let (client, asked) = client_of(&emulator, Issuer::Panics, quickly());
    let error = within(client.event_hub_properties()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credential);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the credential panicked");
    assert_eq!(asked.load(Ordering::Relaxed), 4, "one try and three retries");
}

#[tokio::test]
async fn bad_names_are_refused_by_their_field() {
    let build = |namespace: &str, hub: &str| {
        let issued = Issued { issuer: Issuer::Fails, asked: Arc::default() };
        EventHubClient::with_credential(namespace, hub, issued).build().unwrap_err().to_string()
    };
    assert!(build("ns.servicebus.windows.net/orders", "orders").contains("namespace: is not a host name"));
    assert!(build("", "orders").contains("namespace"));
    assert!(build("ns.servicebus.windows.net", "a/b").contains("event hub contains a slash"));
}

#[tokio::test]
async fn a_key_can_be_replaced_while_events_come() {
    let emulator = Emulator::builder()
        .event_hub("orders", 4)
        .shared_access_key("First", "Zmlyc3Q=")
        .shared_access_key("Second", "c2Vjb25k")
        .start()
        .await
        .unwrap();
    let first = emulator.connection_string("orders");
    let client = client_builder(&first).build().unwrap();
    let mut receiver = open(&client, StartingPosition::Earliest).await;
    emulator.publish_to("orders", "0", texts(0..3)).unwrap();
    receive(&mut receiver, 3).await;
    let second = |key| {
        let text = first.replace("First", "Second").replace("Zmlyc3Q=", key);
        ConnectionString::parse(&text).unwrap()
    };
    client.update_connection_string(&second("c2Vjb25k")).unwrap();
    emulator.expire_tokens();
    emulator.publish_to("orders", "0", texts(3..6)).unwrap();
    receive(&mut receiver, 3).await;
    client.update_connection_string(&second("bm9uZQ==")).unwrap();
    emulator.expire_tokens();
    let error = within(receiver.receive_batch(1, None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "the key in use is the one that was given last");
}

#[tokio::test]
async fn a_replacement_that_does_not_fit_is_refused() {
    let emulator = emulator().await;
    let text = emulator.connection_string("orders");
    let other = text.replace(&emulator.address().ip().to_string(), "other.example");
    let client = client_builder(&text).build().unwrap();
    let error = client.update_connection_string(&ConnectionString::parse(&other).unwrap()).unwrap_err();
    assert!(error.to_string().contains("another namespace"), "{error}");
    let (issued, _) = client_of(&emulator, Issuer::Fails, quickly());
    let error = issued.update_connection_string(&ConnectionString::parse(&text).unwrap()).unwrap_err();
    assert!(error.to_string().contains("token credential"), "{error}");
}
