//! What somebody sees who made a mistake: the first line that a program prints names the field or the host, the reason, and
//! where it helps, what to do.

use std::time::Duration;

use eventhubs::{ConsumerClient, ConsumerClientBuilder, ErrorKind, RetryPolicy};
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{Azurite, PATIENCE, within};
use eventhubs_tests::HUB;
use tokio::net::TcpListener;

const KEY: &str = "c2VjcmV0LWNhbmFyeS1zZWNyZXQtY2FuYXJ5LTAwMDE=";

fn once() -> RetryPolicy {
    RetryPolicy::fixed(Duration::from_millis(10)).max_retries(0)
}

fn shared_access() -> String {
    format!("SharedAccessKeyName=Root;SharedAccessKey={KEY}")
}

/// Each line: a connection string, and what its error says.
fn strings() -> Vec<(String, &'static str)> {
    let (access, cloud) = (shared_access(), "Endpoint=sb://contoso.servicebus.windows.net/");
    let good = format!("{cloud};{access};EntityPath=orders");
    vec![
        (String::new(), "connection string: is empty"),
        (format!("\"{good}\""), "connection string: is in quotes; they are not part of it"),
        (format!("'{good}'"), "connection string: is in quotes"),
        (
            "$EVENT_HUB".to_owned(),
            "connection string: looks like a variable of the environment that was not expanded",
        ),
        ("%EVENT_HUB%".to_owned(), "connection string: looks like a variable of the environment"),
        (
            "sb://contoso.servicebus.windows.net/".to_owned(),
            "connection string: is a URL; copy the connection string of a",
        ),
        (
            format!("DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey={KEY}"),
            "connection string: is one of a storage account; that of an event hub begins with Endpoint=",
        ),
        (
            format!("{cloud};{access}"),
            "event hub: is missing; add EntityPath=<name> to the connection string",
        ),
        (format!("{good};EntityPath=orders"), "connection string: EntityPath: is given twice"),
        (access, "connection string: Endpoint: is missing"),
        (
            format!("{good};UseDevelopmentEmulator=true"),
            "UseDevelopmentEmulator: is true for a namespace in the cloud",
        ),
    ]
}

#[test]
fn each_wrong_connection_string_says_what_it_is() {
    for (text, expected) in strings() {
        let error = ConsumerClient::builder(&text, "$Default").build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let told = error.to_string();
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains(KEY), "{told}");
    }
}

#[test]
fn each_wrong_storage_connection_string_says_what_it_is() {
    for (text, expected) in [
        (String::new(), "connection string: is empty"),
        ("\"AccountName=contoso\"".to_owned(), "connection string: is in quotes"),
        ("${STORAGE}".to_owned(), "connection string: looks like a variable of the environment"),
        (
            format!("https://contoso.blob.core.windows.net/?sv=1&sig={KEY}"),
            "connection string: is a URL; with_sas_url takes that of a container, with_credential",
        ),
        (
            format!("Endpoint=sb://contoso.servicebus.windows.net/;{}", shared_access()),
            "connection string: is one of an event hub; that of a storage account has an AccountName",
        ),
        (
            "AccountName=contoso".to_owned(),
            "connection string: AccountKey is missing, and so is SharedAccessSignature",
        ),
    ] {
        let told = BlobCheckpointStore::from_connection_string(&text, "checkpoints").unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains(KEY), "{told}");
    }
}

/// Each line: what is wrong in the options, and what the error says.
fn options() -> Vec<(ConsumerClientBuilder, &'static str)> {
    let cloud = format!("Endpoint=sb://contoso.servicebus.windows.net/;{}", shared_access());
    let orders = format!("{cloud};EntityPath=orders");
    let of_group = |group: &str| ConsumerClient::builder(&orders, group);
    let good = || of_group("$Default");
    let seconds = Duration::from_secs;
    vec![
        (of_group(""), "consumer group is empty"),
        (of_group("a/b"), "consumer group contains a slash"),
        (good().event_hub("a/b"), "event hub contains a slash"),
        (of_group(&"x".repeat(300)), "consumer group is too long"),
        (good().event_hub("billing"), "event hub: differs from the EntityPath of the connection string"),
        (
            good().load_balancing_interval(seconds(60)),
            "load balancing: the expiry of 60s is shorter than 3 intervals of 60s",
        ),
        (good().load_balancing_interval(Duration::ZERO), "load balancing: the interval is zero"),
        (
            good().partition_ownership_expiration_interval(seconds(10)),
            "load balancing: the expiry of 10s is shorter than 3 intervals of 10s",
        ),
        (
            ConsumerClient::builder(orders.replace("contoso.servicebus.windows.net/", ""), "$Default"),
            "connection string: Endpoint: namespace is empty",
        ),
    ]
}

#[test]
fn each_wrong_option_is_named() {
    for (builder, expected) in options() {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let account = format!("AccountName=contoso;AccountKey={KEY}");
    for (container, expected) in [
        ("Checkpoints", "container: a name has lower-case letters, digits and hyphens only, and is no path"),
        ("https://contoso.blob.core.windows.net/checkpoints", "container: a name has lower-case letters"),
        ("", "container: a name has 3 to 63 characters"),
    ] {
        let error = BlobCheckpointStore::from_connection_string(&account, container).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_option_of_a_run_is_named() {
    let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
    let of_group = |group: &str| {
        let builder = ConsumerClient::builder(emulator.connection_string(HUB), group);
        builder.retry(once()).build().unwrap()
    };
    let client = of_group("$Default");
    let closed = of_group("$Default");
    closed.close().await;
    let receive = |client: &ConsumerClient| client.receive(|_, _| async { Ok(()) });
    let batches = client.receive_batch(|_, _| async { Ok(()) });
    for (run, expected) in [
        (receive(&client).prefetch(0).into_future(), "prefetch must be more than zero"),
        (receive(&client).prefetch(10_001).into_future(), "prefetch must be at most 10000"),
        (batches.max_batch_size(0).into_future(), "max_batch_size must be more than zero"),
        (
            receive(&client).partition_id("99".parse().unwrap()).into_future(),
            "'orders/Partitions/99' could not be found",
        ),
        (receive(&closed).into_future(), "the client was closed"),
        (receive(&of_group("Default")).into_future(), "the default consumer group is called `$Default`"),
        (
            receive(&of_group("nope")).into_future(),
            "'orders/ConsumerGroups/nope/Partitions/0' could not be found",
        ),
    ] {
        let error = within(PATIENCE, run).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_on_the_port_is_told_with_its_address() {
    let azurite = Azurite::start().await;
    let storage = azurite.connection_string();
    let address = storage.split("BlobEndpoint=http://").nth(1).unwrap().split('/').next().unwrap();
    let plain = format!("Endpoint=sb://{address};{};EntityPath=orders", shared_access());
    let told = looking_up(&format!("{plain};UseDevelopmentEmulator=true"), once()).await;
    let expected = format!(
        "after connecting to {address}: opening the connection: the peer does not speak AMQP but HTTP"
    );
    assert!(told.contains(&expected), "{told}");
    let told = looking_up(&plain, once()).await;
    let expected = format!("TLS handshake to {address}: the peer does not speak TLS");
    assert!(told.contains(&expected), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_refuses_or_is_away_is_named_with_the_reason() {
    let azurite = Azurite::start().await;
    let good = azurite.connection_string();
    let key = good.split("AccountKey=").nth(1).unwrap().split(';').next().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = format!("AccountName=contoso;AccountKey={KEY};BlobEndpoint=http://{closed}/contoso");
    for (account, expected) in [
        (
            good.replace(key, KEY),
            "the store refused the credential: container `checkpoints` at 127.0.0.1: creating it: status 403",
        ),
        (away, "the store cannot be reached: container `checkpoints` at 127.0.0.1: creating it: no answer: "),
    ] {
        let store = BlobCheckpointStore::from_connection_string(&account, "checkpoints").unwrap();
        let told = store.create_container_if_absent().await.unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains(KEY), "{told}");
    }
}

/// The error that ends a run against this namespace.
async fn ends_with(connection_string: &str) -> eventhubs::Error {
    let builder = ConsumerClient::builder(connection_string, "$Default");
    let client = builder.retry(once()).build().unwrap();
    within(PATIENCE, client.receive(|_, _| async { Ok(()) }).into_future()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_at_the_service_ends_the_run_with_the_reason() {
    let emulator =
        Emulator::builder().event_hub(HUB, 1).shared_access_key("Root", "right").start().await.unwrap();
    let good = emulator.connection_string(HUB);
    for (text, kind, expected) in [
        (good.replace("right", KEY), ErrorKind::Unauthorized, "InvalidSignature"),
        (
            good.replace("EntityPath=orders", "EntityPath=nope"),
            ErrorKind::NotFound,
            "nope' could not be found",
        ),
        (
            good.replace("UseDevelopmentEmulator=true", "UseDevelopmentEmulator=false"),
            ErrorKind::UntrustedCertificate,
            "the certificate of the peer is not trusted: TLS handshake to 127.0.0.1:",
        ),
        (
            format!("Endpoint=sb://contoso.invalid/;{};EntityPath=orders", shared_access()),
            ErrorKind::HostNotFound,
            "connecting to contoso.invalid:5671: failed to lookup address information",
        ),
    ] {
        let error = ends_with(&text).await;
        let told = error.to_string();
        assert_eq!(error.kind(), kind, "{told}");
        assert!(told.starts_with("the event hub could not be looked up: "), "{told}");
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains(KEY), "{told}");
    }
}

/// What the client says of a namespace that may come back.
async fn looking_up(connection_string: &str, retry: RetryPolicy) -> String {
    let builder = ConsumerClient::builder(connection_string, "$Default");
    let client = builder.retry(retry).build().unwrap();
    let error = within(PATIENCE, client.event_hub_properties()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_does_not_answer_is_named_with_the_reason() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let at = |address| {
        format!("Endpoint=sb://{address};{};EntityPath=orders;UseDevelopmentEmulator=true", shared_access())
    };
    let told = looking_up(&at(closed), once()).await;
    assert!(told.contains(&format!("connecting to {closed}: Connection refused")), "{told}");

    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let brief = once().try_timeout(Duration::from_millis(300));
    let told = looking_up(&at(address), brief).await;
    assert!(told.contains(&format!("after connecting to {address}: opening the connection")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_at_the_storage_is_named_with_the_reason() {
    let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
    let azurite = Azurite::start().await;
    let store = BlobCheckpointStore::from_connection_string(&azurite.connection_string(), "nobody-made-this")
        .unwrap();
    let builder = ConsumerClient::builder(emulator.connection_string(HUB), "$Default");
    let client = builder.checkpoint_store(store).build().unwrap();
    let error = within(PATIENCE, client.receive(|_, _| async { Ok(()) }).into_future()).await.unwrap_err();
    for part in ["container `nobody-made-this` at 127.0.0.1", "create it, or call create_container_if_absent"]
    {
        assert!(error.to_string().contains(part), "{error}");
    }

    let account = format!("AccountName=contoso;AccountKey={KEY};BlobEndpoint=https://contoso.blob.invalid");
    let store = BlobCheckpointStore::from_connection_string(&account, "checkpoints").unwrap();
    let builder = ConsumerClient::builder(emulator.connection_string(HUB), "$Default");
    let client = builder.checkpoint_store(store).build().unwrap();
    let error = within(PATIENCE, client.receive(|_, _| async { Ok(()) }).into_future()).await.unwrap_err();
    for part in ["the store was not found", "contoso.blob.invalid", "failed to lookup address information"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_api_version_that_is_not_known_ends_the_run() {
    let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
    let account = Azurite::shared().await.connection_string();
    let container = Azurite::unused_container();
    BlobCheckpointStore::from_connection_string(&account, &container)
        .unwrap()
        .create_container_if_absent()
        .await
        .unwrap();
    let store = BlobCheckpointStore::builder(&account, &container).api_version("2099-01-01").build().unwrap();
    let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default").checkpoint_store(store);
    let client = client.retry(once()).build().unwrap();
    let run = client.receive(|_, _| async { Ok(()) }).into_future();
    let error = within(PATIENCE, run).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("version 2099-01-01 of the storage API"), "{error}");
}
