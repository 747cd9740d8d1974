use eventhubs_amqp::{ErrorKind, EventHubClient, PartitionReceiverBuilder};
use eventhubs_types::{ConsumerGroup, StartingPosition};

use crate::support::{builder, client, client_builder, emulator, partition, within};

async fn refused(builder: PartitionReceiverBuilder, kind: ErrorKind, names: &str) {
    let opened = within(builder.open()).await;
    let error = match opened {
        Err(error) => error,
        Ok(mut receiver) => within(receiver.receive_batch(1, None)).await.unwrap_err(),
    };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(names), "{error}");
    assert!(!error.is_transient());
}

fn receiver_of(client: &EventHubClient, group: &str, id: &str) -> PartitionReceiverBuilder {
    let group = ConsumerGroup::new(group).unwrap();
    client.partition_receiver(group, partition(id)).starting_position(StartingPosition::Earliest)
}

#[tokio::test]
async fn an_unknown_consumer_group_is_not_found() {
    let emulator = emulator().await;
    refused(receiver_of(&client(&emulator), "nobody", "0"), ErrorKind::NotFound, "consumer group nobody")
        .await;
}

#[tokio::test]
async fn an_unknown_event_hub_is_not_found() {
    let emulator = emulator().await;
    let text = emulator.connection_string("orders").replace(";EntityPath=orders", "");
    let client = client_builder(&text).event_hub("nowhere").build().unwrap();
    refused(receiver_of(&client, "$Default", "0"), ErrorKind::NotFound, "event hub nowhere").await;
}

#[tokio::test]
async fn an_unknown_partition_is_an_invalid_argument() {
    let emulator = emulator().await;
    refused(receiver_of(&client(&emulator), "$Default", "77"), ErrorKind::InvalidArgument, "partition 77")
        .await;
}

#[tokio::test]
async fn an_offset_beyond_the_partition_is_an_invalid_position() {
    let emulator = emulator().await;
    let client = client(&emulator);
    for position in
        [StartingPosition::after_offset("999999"), StartingPosition::after_sequence_number(999_999)]
    {
        refused(builder(&client, position), ErrorKind::InvalidPosition, "999999").await;
    }
}

#[tokio::test]
async fn an_offset_that_could_change_the_filter_is_refused_before_it_is_sent() {
    let emulator = emulator().await;
    let position = StartingPosition::after_offset("1' OR '1'='1");
    refused(builder(&client(&emulator), position), ErrorKind::InvalidPosition, "starting position: offset")
        .await;
}

#[tokio::test]
async fn a_wrong_key_is_unauthorized() {
    let emulator = emulator().await;
    let text = emulator.connection_string("orders").replace("SAS_KEY_VALUE", "another-key");
    let client = client_builder(&text).build().unwrap();
    refused(receiver_of(&client, "$Default", "0"), ErrorKind::Unauthorized, "$cbs").await;
    refused(builder(&client, StartingPosition::Latest), ErrorKind::Unauthorized, "$cbs").await;
    let error = client.event_hub_properties().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn options_that_cannot_be_used_are_refused_by_name() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let options = || builder(&client, StartingPosition::Earliest);
    refused(options().prefetch(0), ErrorKind::InvalidArgument, "prefetch").await;
    refused(options().prefetch(10_001), ErrorKind::InvalidArgument, "prefetch").await;
    refused(options().identifier("x".repeat(65)), ErrorKind::InvalidArgument, "identifier").await;
    let long = client_builder(&emulator.connection_string("orders")).identifier("x".repeat(65)).build();
    assert!(long.unwrap_err().to_string().contains("identifier"));
    let other = client_builder(&emulator.connection_string("orders")).event_hub("x").build();
    assert!(other.unwrap_err().to_string().contains("event hub: differs"));
}

#[tokio::test]
async fn nobody_listening_is_a_transient_error() {
    let emulator = emulator().await;
    let client = client(&emulator);
    emulator.stop().await;
    let error = client.event_hub_properties().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(error.is_transient());
    assert!(error.to_string().contains("connecting to 127.0.0.1:"), "{error}");
}

/// Only `UseDevelopmentEmulator` turns TLS off.
#[tokio::test]
async fn a_service_that_does_not_speak_tls_is_not_talked_to() {
    let emulator = emulator().await;
    let text = emulator
        .connection_string("orders")
        .replace("UseDevelopmentEmulator=true", "UseDevelopmentEmulator=false");
    let error = within(client_builder(&text).build().unwrap().event_hub_properties()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UntrustedCertificate);
    assert!(error.to_string().contains("TLS handshake to 127.0.0.1:"), "{error}");
}
