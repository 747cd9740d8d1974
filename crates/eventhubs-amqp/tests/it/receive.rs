use eventhubs_types::StartingPosition;

use crate::support::{client, emulator, numbers, open, receive, texts};

#[tokio::test]
async fn events_come_in_order_from_the_earliest() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..1000)).unwrap();
    let client = client(&emulator);
    let mut receiver = open(&client, StartingPosition::Earliest).await;
    let events = receive(&mut receiver, 1000).await;
    assert_eq!(numbers(&events), (0..1000).collect::<Vec<_>>());
    receiver.close().await.unwrap();
}
