//! Events of the real JavaScript SDK whose bodies are null or empty: each comes with its properties (java#32939, js#29832).

use std::path::Path;

use eventhubs::{ConsumerClient, StartingPosition};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{PATIENCE, installed, within};
use eventhubs_tests::HUB;
use tokio::process::Command;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread")]
async fn null_bodies_of_the_javascript_sdk_come_with_their_properties() {
    let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("witnesses/js/odd_bodies.cjs");
    let sending = Command::new("node")
        .arg(script)
        .args([&emulator.namespace_connection_string(), HUB])
        .env("NODE_PATH", installed("js/node_modules"))
        .status();
    assert!(within(PATIENCE, sending).await.unwrap().success());

    let (tell, mut told) = mpsc::channel(6);
    let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default").build().unwrap();
    let receive = client.receive(move |_, event| {
        let is_tombstone = event.properties().get("kind") == Some(&"tombstone".into());
        tell.try_send((event.body_as_str().unwrap().into_owned(), is_tombstone)).unwrap();
        async { Ok(()) }
    });
    let receive = receive.starting_position(StartingPosition::Earliest).partition_id("0".parse().unwrap());
    let reading = tokio::spawn(receive.into_future());
    // What is no buffer is written as JSON.
    for body in ["", "", "\"\"", "0", "false", ""] {
        assert_eq!(within(PATIENCE, told.recv()).await.unwrap(), (body.to_owned(), true));
    }
    reading.abort();
}
