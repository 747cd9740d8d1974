use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use eventhubs_amqp::{AccessToken, ErrorKind, EventHubClient, ReceivedEvent, TokenCredential, TokenError};
use eventhubs_emulator::Emulator;
use eventhubs_types::StartingPosition;
use futures::StreamExt;
use futures::future::poll_fn;

use crate::support::{
    builder, client, emulator, numbers, open, partition, receive, seeing, texts, until, within,
};

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

/// `receive_batch`, and the stream of `events` by turns, dropped at every await, through faults of all kinds:
/// nothing is lost and nothing repeated.
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
            let polls = 1 + round % 5;
            if round % 2 == 0 {
                let batch = poll_times(polls, receiver.receive_batch(1 + round % 11, None)).await;
                read.extend(batch.iter().flat_map(|batch| numbers(batch.as_ref().unwrap())));
            } else {
                let event = poll_times(polls, receiver.events().next()).await.flatten();
                read.extend(event.map(|event| event.unwrap().sequence_number().value()));
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
    within(reading).await;
    assert_eq!(read, (0..EVENTS).collect::<Vec<_>>());
}

/// Wakes itself before it has a token.
#[derive(Debug)]
struct SlowIssuer;

#[async_trait]
impl TokenCredential for SlowIssuer {
    async fn token(&self, _: &str) -> Result<AccessToken, TokenError> {
        tokio::task::yield_now().await;
        let far_future = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        Ok(AccessToken::new("eyJhbGciOiJub25lIn0.e30.c2ln", far_future))
    }
}

/// One with a key, and one with tokens of a credential; neither is connected.
fn fresh_clients(emulator: &Emulator) -> [EventHubClient; 2] {
    let issued = EventHubClient::with_credential(emulator.address().to_string(), "orders", SlowIssuer);
    [client(emulator), issued.use_development_emulator().build().unwrap()]
}

/// Lets the future wait this many times, then drops it where it waits.
async fn dropped_at<T>(wait: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut polls) = (pin!(future), 0);
    let polled = poll_fn(|cx| {
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polls == wait => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    within(polled).await
}

/// Drops the call at its first wait, another one at its second, and so on, until one is done before it is
/// dropped.
async fn dropped_everywhere<T>(mut call: impl AsyncFnMut(usize) -> Option<T>) -> T {
    let mut wait = 0;
    loop {
        wait += 1;
        if let Some(done) = call(wait).await {
            assert!(wait > 1, "it never waited");
            return done;
        }
    }
}

#[tokio::test]
async fn an_open_that_is_dropped_anywhere_leaves_nothing_behind() {
    let emulator = emulator().await;
    for which in [0, 1] {
        let opened = dropped_everywhere(async |wait| {
            let client = &fresh_clients(&emulator)[which];
            let opened = dropped_at(wait, builder(client, StartingPosition::Latest).open()).await;
            within(client.event_hub_properties()).await.unwrap();
            opened
        });
        opened.await.unwrap().close().await.unwrap();
        until(seeing("all detached", || emulator.receivers("orders")), || {
            emulator.receivers("orders").unwrap().is_empty()
        })
        .await;
    }
    until(seeing("all closed", || emulator.connections()), || emulator.connections().is_empty()).await;
}

#[tokio::test]
async fn a_question_that_is_dropped_anywhere_disturbs_no_other() {
    let emulator = emulator().await;
    for which in [0, 1] {
        let hub = dropped_everywhere(async |wait| {
            let client = &fresh_clients(&emulator)[which];
            let hub = dropped_at(wait, client.event_hub_properties()).await;
            let again = within(client.event_hub_properties()).await.unwrap();
            assert_eq!(again.partition_ids.len(), 4);
            hub
        });
        assert_eq!(hub.await.unwrap().partition_ids.len(), 4);
        let asked = dropped_everywhere(async |wait| {
            let client = &fresh_clients(&emulator)[which];
            let asked = dropped_at(wait, client.partition_properties(&partition("1"))).await;
            let again = within(client.partition_properties(&partition("2"))).await.unwrap();
            assert_eq!(again.id, partition("2"), "not the answer to the question that was dropped");
            asked
        });
        assert_eq!(asked.await.unwrap().id, partition("1"));
    }
}

#[tokio::test]
async fn a_receiver_whose_close_is_dropped_anywhere_is_detached() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let closed = dropped_everywhere(async |wait| {
        let receiver = open(&client, StartingPosition::Earliest).await;
        let closed = dropped_at(wait, receiver.close()).await;
        until(seeing("it is detached", || emulator.receivers("orders")), || {
            emulator.receivers("orders").unwrap().is_empty()
        })
        .await;
        closed
    });
    closed.await.unwrap();
}

#[tokio::test]
async fn a_client_whose_close_is_dropped_anywhere_is_closed() {
    let emulator = emulator().await;
    dropped_everywhere(async |wait| {
        let client = client(&emulator);
        client.event_hub_properties().await.unwrap();
        let closed = dropped_at(wait, client.close()).await;
        assert_eq!(client.event_hub_properties().await.unwrap_err().kind(), ErrorKind::Closed);
        until(seeing("the connection is closed", || emulator.connections()), || {
            emulator.connections().is_empty()
        })
        .await;
        closed
    })
    .await;
}

/// Two events that go out one after the other, as each fills a message.
#[tokio::test]
async fn a_dropped_send_sends_nothing_twice_and_leaves_the_producer_usable() {
    let emulator = Emulator::builder().event_hub("orders", 1).max_message_size(1_000).start().await.unwrap();
    let body = |text: &str| format!("{text:<900}");
    let mut sends = 0;
    dropped_everywhere(async |wait| {
        sends += 1;
        let producer = client(&emulator).producer();
        let sent = dropped_at(wait, producer.send([body("first"), body("second")])).await;
        within(producer.send([body("third")])).await.unwrap();
        sent
    })
    .await
    .unwrap();
    let count = emulator.partition("orders", "0").unwrap().event_count;
    let events = receive(&mut open(&client(&emulator), StartingPosition::Earliest).await, count).await;
    let text = |event: &ReceivedEvent| event.body_as_str().unwrap().trim().to_owned();
    let texts: Vec<String> = events.iter().map(text).collect();
    let each: Vec<&[String]> = texts.split_inclusive(|text| text == "third").collect();
    assert_eq!(each.len(), sends);
    assert_eq!(each[sends - 1], ["first", "second", "third"]);
    let whole = ["first", "second", "third"];
    for arrived in each {
        let before = &arrived[..arrived.len() - 1];
        assert_eq!(before, &whole[..before.len()], "what was dropped came in part, in order and once");
    }
}

#[tokio::test]
async fn a_producer_can_be_asked_and_closed_and_either_dropped_anywhere() {
    let emulator = emulator().await;
    let size = dropped_everywhere(async |wait| {
        let producer = client(&emulator).producer();
        let size = dropped_at(wait, producer.max_message_size()).await;
        within(producer.max_message_size()).await.unwrap();
        size
    });
    assert!(size.await.unwrap() > 0);
    let client = client(&emulator);
    dropped_everywhere(async |wait| {
        let producer = client.producer();
        within(producer.send(["before"])).await.unwrap();
        let closed = dropped_at(wait, producer.close()).await;
        within(producer.send(["behind"])).await.unwrap();
        closed
    })
    .await;
}
