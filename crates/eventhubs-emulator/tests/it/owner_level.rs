use crate::client::{Client, Reading, end_of, next, orders, within};
use eventhubs_test_harness::{seeing, until};

fn level(owner_level: i64, name: &'static str) -> Reading {
    Reading { owner_level: Some(owner_level), name: Some(name), ..Reading::default() }
}

#[tokio::test]
async fn a_higher_level_ends_the_lower_one() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut low = client.read("0", level(1, "low")).await.unwrap();
    next(&mut low).await;
    let mut high = client.read("0", level(5, "high")).await.unwrap();
    let end = end_of(&mut low).await;
    assert_eq!(end.condition, "amqp:link:stolen");
    let text = "New receiver 'high' with higher epoch of '5' is created hence current receiver 'low' with epoch '1' is \
                getting disconnected";
    assert!(end.description.starts_with(text), "{}", end.description);
    next(&mut high).await;
}

#[tokio::test]
async fn the_latest_of_equal_levels_wins() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut first = client.read("0", level(0, "first")).await.unwrap();
    let _second = client.read("0", level(0, "second")).await.unwrap();
    assert_eq!(end_of(&mut first).await.condition, "amqp:link:stolen");
    let attached = emulator.receivers("orders").unwrap();
    assert_eq!(attached.iter().map(|r| r.name.as_deref()).collect::<Vec<_>>(), [Some("second")]);
}

#[tokio::test]
async fn a_lower_or_missing_level_is_refused() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let _high = client.read("0", level(5, "high")).await.unwrap();
    let refusal = client.read("0", level(4, "low")).await.unwrap_err();
    assert_eq!(refusal.condition, "amqp:link:stolen");
    assert!(refusal.description.starts_with("Receiver 'high' with a higher epoch '5' already exists"));
    let refusal = client.read("0", Reading::default()).await.unwrap_err();
    assert_eq!(refusal.condition, "amqp:link:stolen");
    assert!(refusal.description.contains("non-epoch receiver is not allowed"), "{}", refusal.description);
}

#[tokio::test]
async fn a_level_ends_all_readers_without_one() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(client.read("0", Reading::default()).await.unwrap());
    }
    let _levelled = client.read("0", level(0, "levelled")).await.unwrap();
    for reader in &mut readers {
        assert_eq!(end_of(reader).await.condition, "amqp:link:stolen");
    }
}

#[tokio::test]
async fn the_sixth_reader_without_a_level_is_refused_until_one_leaves() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut readers = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        readers.push(client.read("0", Reading { name: Some(name), ..Reading::default() }).await.unwrap());
    }
    let refusal = client.read("0", Reading::default()).await.unwrap_err();
    assert_eq!(refusal.condition, "amqp:resource-limit-exceeded");
    assert!(refusal.description.contains("a, b, c, d, e"), "{}", refusal.description);
    within(readers.remove(2).close()).await.unwrap();
    until(seeing("four readers", || emulator.receivers("orders")), || {
        emulator.receivers("orders").unwrap().len() == 4
    })
    .await;
    client.read("0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn levels_count_per_partition_and_consumer_group() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let _one = client.read("0", level(9, "one")).await.unwrap();
    let _other_partition = client.read("1", level(0, "two")).await.unwrap();
    let other_group = "orders/ConsumerGroups/billing/Partitions/0";
    let _other_group = client.receiver(other_group, level(0, "three")).await.unwrap();
    assert_eq!(emulator.receivers("orders").unwrap().len(), 3);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_its_seat() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let _receiver = client.read("0", level(9, "one")).await.unwrap();
    emulator.drop_connections();
    until(seeing("the reader is gone", || emulator.receivers("orders")), || {
        emulator.receivers("orders").unwrap().is_empty()
    })
    .await;
    let mut client = Client::connect(&emulator).await;
    client.read("0", level(0, "two")).await.unwrap();
}
