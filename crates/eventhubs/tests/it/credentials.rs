use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use eventhubs::{
    AccessToken, ConsumerClient, ErrorKind, MemoryCheckpointStore, RetryPolicy, StartingPosition,
    TokenCredential, TokenError,
};

use crate::support::{HUB, Seen, body, client, emulator, publish_to, start, within};

#[derive(Debug)]
struct Issued;

#[async_trait]
impl TokenCredential for Issued {
    async fn token(&self, _scope: &str) -> Result<AccessToken, TokenError> {
        let far_future = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        Ok(AccessToken::new("aGVhZGVy.Y2xhaW1z.c2lnbmF0dXJl", far_future))
    }
}

#[tokio::test]
async fn a_run_reads_with_the_tokens_of_a_credential() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a"]);
        let namespace = emulator.address().to_string();
        let client = ConsumerClient::with_credential(namespace, HUB, "$Default", Issued)
            .unwrap()
            .use_development_emulator()
            .checkpoint_store(MemoryCheckpointStore::new())
            .build()
            .unwrap();
        let seen = Seen::default();
        let noting = seen.clone();
        client
            .receive(move |_, event| {
                noting.push(body(&event));
                async { Ok(()) }
            })
            .starting_position(StartingPosition::Earliest)
            .with_graceful_shutdown(async move { seen.until_contains("a").await })
            .await
            .unwrap();
    })
    .await;
}

/// Panics when a partition is attached, a few times; before that the client asks twice, for the event hub.
#[derive(Debug, Default)]
struct Panicking(AtomicUsize);

#[async_trait]
impl TokenCredential for Panicking {
    async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let call = self.0.fetch_add(1, Ordering::Relaxed);
        assert!(!(2..5).contains(&call), "call {call}");
        Issued.token(scope).await
    }
}

#[tokio::test]
async fn a_panic_while_a_partition_is_opened_is_reported_and_it_is_tried_again() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let namespace = emulator.address().to_string();
        let client = ConsumerClient::with_credential(namespace, HUB, "$Default", Panicking::default())
            .unwrap()
            .use_development_emulator()
            .retry(RetryPolicy::fixed(Duration::from_millis(20)))
            .build()
            .unwrap();
        let seen = Seen::default();
        let (event, error) = (seen.clone(), seen.clone());
        let running = start(
            client
                .receive(move |_, received| {
                    event.push(body(&received));
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Earliest)
                .on_error(move |context, what| {
                    assert_eq!(what.kind(), ErrorKind::Handler, "{what:?}");
                    error.push(format!("error {}", context.unwrap().partition_id()));
                    async {}
                }),
        );
        seen.until_contains("a").await;
        running.stop().await;
        assert_eq!(seen.all(), ["error 0", "error 0", "error 0", "a"]);
    })
    .await;
}

#[tokio::test]
async fn another_key_is_taken_for_the_same_namespace_only() {
    let emulator = emulator(1).await;
    let client = client(&emulator);
    let text = emulator.connection_string(HUB);
    client.update_connection_string(&text).unwrap();
    let other = text.replace(&emulator.address().ip().to_string(), "other.example");
    assert!(client.update_connection_string(other).is_err());
    assert!(client.update_connection_string("Endpoint=sb://other").is_err());
}
