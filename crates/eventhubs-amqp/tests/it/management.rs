use eventhubs_amqp::ErrorKind;
use eventhubs_types::StartingPosition;

use crate::support::{builder, client, client_builder, emulator, partition, texts};

#[tokio::test]
async fn a_hub_names_its_partitions() {
    let emulator = emulator().await;
    let hub = client(&emulator).event_hub_properties().await.unwrap();
    assert_eq!(hub.name.as_str(), "orders");
    assert_eq!(hub.partition_ids, ["0", "1", "2", "3"].map(partition));
    assert!(hub.created_at.is_some());
}

/// Contract §4.2: the sentinels.
#[tokio::test]
async fn a_partition_that_never_had_an_event_says_so() {
    let emulator = emulator().await;
    let properties = client(&emulator).partition_properties(&partition("2")).await.unwrap();
    assert_eq!((properties.event_hub.as_str(), properties.id.as_str()), ("orders", "2"));
    assert_eq!(properties.last_enqueued_sequence_number, Some((-1).into()));
    assert_eq!(properties.last_enqueued_offset, Some("-1".into()));
    assert_eq!(properties.last_enqueued_time, None);
    assert!(properties.is_empty);
}

#[tokio::test]
async fn a_partition_says_what_it_holds() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "2", texts(0..7)).unwrap();
    let properties = client(&emulator).partition_properties(&partition("2")).await.unwrap();
    let expected = emulator.partition("orders", "2").unwrap();
    assert_eq!(properties.beginning_sequence_number, Some(expected.beginning_sequence_number));
    assert_eq!(properties.last_enqueued_sequence_number, Some(6.into()));
    assert_eq!(properties.last_enqueued_offset, Some(expected.last_enqueued_offset));
    assert_eq!(properties.last_enqueued_time, expected.last_enqueued_time);
    assert!(!properties.is_empty);
}

#[tokio::test]
async fn many_questions_at_once_get_their_own_answers() {
    let emulator = emulator().await;
    for (n, id) in ["0", "1", "2", "3"].iter().enumerate() {
        emulator.publish_to("orders", id, texts(0..i64::try_from(n).unwrap())).unwrap();
    }
    let client = client(&emulator);
    let ask = |n: i64| {
        let client = client.clone();
        async move {
            let id = (n % 4).to_string();
            let properties = client.partition_properties(&partition(&id)).await.unwrap();
            assert_eq!(
                (properties.id.as_str(), properties.last_enqueued_sequence_number.unwrap().value()),
                (&*id, n % 4 - 1)
            );
        }
    };
    futures::future::join_all((0..100).map(ask)).await;
}

#[tokio::test]
async fn asking_goes_on_after_the_connection_was_lost() {
    let emulator = emulator().await;
    let client = client(&emulator);
    client.event_hub_properties().await.unwrap();
    for _ in 0..5 {
        emulator.drop_connections();
        client.event_hub_properties().await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let emulator = emulator().await;
    let error = client(&emulator).partition_properties(&partition("9")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("event hub orders, partition 9"), "{error}");

    let text = emulator.connection_string("orders").replace(";EntityPath=orders", "");
    let other = client_builder(&text).event_hub("nowhere").build().unwrap();
    let error = other.event_hub_properties().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("event hub nowhere"), "{error}");
}

/// Contract §2.1, §5.3: so that the service's own texts say who.
#[tokio::test]
async fn the_service_learns_who_connects_and_who_reads() {
    let emulator = emulator().await;
    let named = client_builder(&emulator.connection_string("orders")).identifier("billing");
    let reading = builder(&named.build().unwrap(), StartingPosition::Earliest).identifier("billing-0");
    let _receiver = reading.open().await.unwrap();
    let connected = emulator.connections().remove(0);
    assert!(connected.container_id.starts_with("billing-"), "{connected:?}");
    assert!(connected.user_agent.unwrap().starts_with("eventhubs-rust/"));
    assert_eq!(emulator.receivers("orders").unwrap()[0].name.as_deref(), Some("billing-0"));
}
