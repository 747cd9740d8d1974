//! The producer of the feature `producer`.

use eventhubs::{ErrorKind, EventData, ProducerClient, RetryPolicy};
use eventhubs_types::SequenceNumber;

use crate::support::{HUB, emulator, within};

#[tokio::test]
async fn events_arrive_in_the_partition_that_was_named() {
    within(async {
        let emulator = emulator(3).await;
        let builder = ProducerClient::builder(emulator.connection_string(HUB));
        let producer = builder.partition_id("2".parse().unwrap()).build().unwrap();
        producer.send([EventData::new("a").property("cups", 2_i64), EventData::new("b")]).await.unwrap();
        let events = emulator.events(HUB, "2", SequenceNumber::new(0), 10).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(producer.event_hub_properties().await.unwrap().partition_ids.len(), 3);

        producer.close().await;
        let closed = producer.send(["c"]).await.unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
    })
    .await;
}

#[tokio::test]
async fn what_the_service_refuses_is_told_with_its_condition() {
    within(async {
        let emulator = emulator(1).await;
        let builder = ProducerClient::builder(emulator.connection_string(HUB)).retry(RetryPolicy::default());
        let producer = builder.partition_id("7".parse().unwrap()).build().unwrap();
        let error = producer.send(["a"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(error.condition(), Some("com.microsoft:argument-out-of-range"));
    })
    .await;
}

#[test]
fn a_wrong_connection_string_is_told_when_the_client_is_built() {
    let error = ProducerClient::builder("nonsense").event_hub(HUB).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
