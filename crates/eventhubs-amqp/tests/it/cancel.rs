use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use eventhubs_types::StartingPosition;
use futures::future::poll_fn;

use crate::support::{builder, client, emulator, numbers, soon, texts};

/// Polls the future at most this many times, then drops it.
async fn poll_times<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// `receive_batch` dropped at every await, through faults of all kinds: nothing is lost and nothing repeated.
#[tokio::test]
async fn a_receive_that_is_dropped_anywhere_loses_nothing() {
    const EVENTS: i64 = 3_000;
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..EVENTS)).unwrap();
    let mut receiver =
        builder(&client(&emulator), StartingPosition::Earliest).prefetch(50).open().await.unwrap();
    let mut read: Vec<i64> = Vec::new();
    let reading = async {
        for round in 0_usize.. {
            if let Some(batch) = poll_times(1 + round % 5, receiver.receive_batch(1 + round % 11, None)).await
            {
                read.extend(numbers(&batch.unwrap()));
            }
            if read.len() == usize::try_from(EVENTS).unwrap() {
                break;
            }
            match round % 4_001 {
                1_000 => _ = emulator.detach_links("orders", "amqp:link:detach-forced", ""),
                2_000 => _ = emulator.end_sessions("orders", "amqp:internal-error", ""),
                3_000 => _ = emulator.close_connections("amqp:connection:forced", ""),
                4_000 => _ = emulator.drop_connections(),
                _ => {}
            }
        }
    };
    soon("all events", reading).await;
    assert_eq!(read, (0..EVENTS).collect::<Vec<_>>());
}

/// Opening dropped at every await leaves no receiver behind, and the client usable.
#[tokio::test]
async fn an_open_that_is_dropped_anywhere_leaves_nothing_behind() {
    let emulator = emulator().await;
    let client = client(&emulator);
    client.event_hub_properties().await.unwrap();
    for times in 1..60 {
        let opened = poll_times(times, builder(&client, StartingPosition::Earliest).open()).await;
        if let Some(receiver) = opened {
            receiver.unwrap().close().await.unwrap();
        }
    }
    crate::support::until("all detached", || emulator.receivers("orders").unwrap().is_empty()).await;
    client.event_hub_properties().await.unwrap();
}

#[tokio::test]
async fn a_question_that_is_dropped_anywhere_disturbs_no_other() {
    let emulator = emulator().await;
    let client = client(&emulator);
    for times in 1..30 {
        poll_times(times, client.event_hub_properties()).await;
        let hub = soon("an answer", client.event_hub_properties()).await.unwrap();
        assert_eq!(hub.partition_ids.len(), 4);
    }
}
