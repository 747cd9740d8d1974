//! Bad input gives an error that names the field and tells no secret.

use std::error::Error;
use std::time::Duration;

use eventhubs::{ConsumerClient, ErrorKind, PartitionId, Receive, StartingPosition};
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{Azurite, PATIENCE, within};
use eventhubs_tests::HUB;

const KEY: &str = "c2VjcmV0LWNhbmFyeS1zZWNyZXQtY2FuYXJ5LTAwMDE=";

/// The error with all that its causes say.
fn told(error: &eventhubs::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    causes.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join("; ")
}

fn assert_tells(error: &eventhubs::Error, kind: ErrorKind, word: &str) {
    let text = told(error);
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.to_lowercase().contains(&word.to_lowercase()), "no `{word}` in: {text}");
    assert!(!text.contains(KEY), "the key is in: {text}");
    assert!(!text.contains("sig="), "a signature is in: {text}");
}

#[test]
fn each_malformed_connection_string_names_the_field() {
    let key = format!("SharedAccessKeyName=Root;SharedAccessKey={KEY};EntityPath=hub1");
    let endpoint = "Endpoint=sb://ns.servicebus.windows.net/";
    for (row, text, field) in [
        (
            "CS13",
            format!("{endpoint};{key};SharedAccessSignature=SharedAccessSignature sr=x&sig=y&se=1&skn=z"),
            "SharedAccessSignature",
        ),
        ("CS14", format!("{endpoint};EntityPath=hub1"), "SharedAccessKey"),
        ("CS15", key.clone(), "Endpoint"),
        ("CS16", format!("Endpoint=;{key}"), "Endpoint"),
        ("CS17", format!("Endpoint=sb://;{key}"), "Endpoint"),
        ("CS18", format!("{endpoint};SharedAccessKeyName=Root;EntityPath=hub1"), "SharedAccessKey"),
        ("CS19", format!("{endpoint};SharedAccessKey={KEY};EntityPath=hub1"), "SharedAccessKeyName"),
        (
            "CS20",
            format!("{endpoint};SharedAccessKeyName=;SharedAccessKey={KEY};EntityPath=hub1"),
            "SharedAccessKeyName",
        ),
        (
            "CS21",
            format!("{endpoint};SharedAccessKeyName=Root;SharedAccessKey=;EntityPath=hub1"),
            "SharedAccessKey",
        ),
        ("CS22", format!("{endpoint};garbage;{key}"), "="),
        ("CS26", String::new(), "connection string"),
        ("CS27", "   ".to_owned(), "connection string"),
        ("CS28", "garbage".to_owned(), "connection string"),
        ("CS29", format!("HostName=ns.servicebus.windows.net;{key}"), "Endpoint"),
        (
            "CS30",
            format!("{endpoint};SharedAccessKeyName=Root;SharedAccessKey={KEY};EntityPath="),
            "EntityPath",
        ),
    ] {
        let error = ConsumerClient::builder(&text, "$Default").build().unwrap_err();
        println!("{row}: {}", told(&error));
        assert_tells(&error, ErrorKind::InvalidArgument, field);
    }
}

#[test]
fn each_option_that_does_not_go_with_another_is_named() {
    let builder = || {
        let text = format!("Endpoint=sb://ns/;SharedAccessKeyName=Root;SharedAccessKey={KEY}");
        ConsumerClient::builder(text, "$Default")
    };
    let error = builder().build().unwrap_err();
    assert_tells(&error, ErrorKind::InvalidArgument, "event hub");
    let error = builder()
        .event_hub("orders")
        .load_balancing_interval(Duration::from_secs(10))
        .partition_ownership_expiration_interval(Duration::from_secs(29))
        .build()
        .unwrap_err();
    assert_tells(&error, ErrorKind::InvalidArgument, "expiry of 29s");
    let error = ConsumerClient::builder("Endpoint=sb://ns/", "a/b").build().unwrap_err();
    assert!(told(&error).contains("connection string") || told(&error).contains("SharedAccessKey"));
}

async fn emulator() -> Emulator {
    Emulator::builder().event_hub(HUB, 2).start().await.unwrap()
}

/// What a run on this connection string and consumer group ends with.
async fn refused(
    connection_string: &str,
    group: &str,
    options: impl FnOnce(Receive<eventhubs::receive::Events>) -> Receive<eventhubs::receive::Events>,
) -> eventhubs::Error {
    let client = ConsumerClient::builder(connection_string, group).build().unwrap();
    let receive = client.receive(|_, _| async { Ok(()) });
    within(PATIENCE, options(receive).into_future()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_event_hub_ends_the_run() {
    let emulator = emulator().await;
    let text = emulator.connection_string(HUB).replace("EntityPath=orders", "EntityPath=nowhere");
    assert_tells(&refused(&text, "$Default", |receive| receive).await, ErrorKind::NotFound, "nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_consumer_group_ends_the_run() {
    let emulator = emulator().await;
    let error = refused(&emulator.connection_string(HUB), "nobody", |receive| receive).await;
    assert_tells(&error, ErrorKind::NotFound, "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_does_not_exist_ends_the_run() {
    let emulator = emulator().await;
    // The first position is looked up by management, the second goes into the attach (contract §4.3, §5.4).
    for (position, kind) in [
        (StartingPosition::Latest, ErrorKind::NotFound),
        (StartingPosition::Earliest, ErrorKind::InvalidArgument),
    ] {
        let error = refused(&emulator.connection_string(HUB), "$Default", |receive| {
            receive.partition_id(PartitionId::new("77").unwrap()).starting_position(position)
        })
        .await;
        assert_tells(&error, kind, "partition 77");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_ends_the_run() {
    let emulator =
        Emulator::builder().event_hub(HUB, 2).shared_access_key("Root", "right").start().await.unwrap();
    let text = emulator.connection_string(HUB).replace("right", KEY);
    assert_tells(
        &refused(&text, "$Default", |receive| receive).await,
        ErrorKind::Unauthorized,
        "Unauthorized",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_offset_ends_the_run_on_one_partition() {
    let emulator = emulator().await;
    let error = refused(&emulator.connection_string(HUB), "$Default", |receive| {
        let position = StartingPosition::after_offset("999999");
        receive.partition_id("0".parse().unwrap()).starting_position(position)
    })
    .await;
    assert_tells(&error, ErrorKind::InvalidPosition, "999999");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_does_not_exist_ends_the_run() {
    let emulator = emulator().await;
    let azurite = Azurite::start().await;
    let store =
        BlobCheckpointStore::from_connection_string(&azurite.connection_string(), "no-such-container");
    let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(store.unwrap())
        .build()
        .unwrap();
    let receive = client.receive(|_, _| async { Ok(()) });
    let error = within(PATIENCE, receive.into_future()).await.unwrap_err();
    assert_tells(&error, ErrorKind::Store, "no-such-container");
}
