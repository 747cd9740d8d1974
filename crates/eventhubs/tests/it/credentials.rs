//! A client that authenticates with tokens reads like any other.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use eventhubs::{
    AccessToken, ConsumerClient, MemoryCheckpointStore, StartingPosition, TokenCredential, TokenError,
};

use crate::support::{HUB, Seen, client, emulator, publish_to, recording, within};

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
        let client = ConsumerClient::builder_with_credential(namespace, HUB, "$Default", Issued)
            .use_development_emulator()
            .checkpoint_store(MemoryCheckpointStore::new())
            .build()
            .unwrap();
        let seen = Seen::default();
        client
            .receive(recording(&seen))
            .starting_position(StartingPosition::Earliest)
            .with_graceful_shutdown(async move { seen.until_contains("a").await })
            .await
            .unwrap();
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
