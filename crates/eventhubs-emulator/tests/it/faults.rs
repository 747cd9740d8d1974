use fe2o3_amqp::link::{LinkStateError, RecvError, SendError, SessionStopReason};
use fe2o3_amqp::types::messaging::{Body, Message};
use fe2o3_amqp::types::primitives::Value;
use futures::FutureExt;

use crate::client::{Client, Reading, Refusal, end_of, next, orders, within};

fn refusal(condition: &str) -> Refusal {
    Refusal { condition: condition.into(), description: "on demand".into() }
}

#[tokio::test]
async fn detached_links_learn_why_and_the_connection_lives_on() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    let mut sender = client.sender("orders").await.unwrap();
    assert_eq!(emulator.detach_links("orders", "amqp:link:detach-forced", "on demand"), 2);
    assert_eq!(end_of(&mut receiver).await, refusal("amqp:link:detach-forced"));
    let end = within(sender.on_detach()).await;
    assert!(format!("{end:?}").contains("DetachForced"), "{end:?}");
    client.read("0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn links_of_other_hubs_are_not_hit() {
    let builder = eventhubs_emulator::Emulator::builder().event_hub("orders", 1).event_hub("other", 1);
    let emulator = builder.start().await.unwrap();
    let mut client = Client::connect(&emulator).await;
    let _receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(emulator.detach_links("other", "amqp:link:detach-forced", "on demand"), 0);
    assert_eq!(emulator.end_sessions("other", "amqp:internal-error", "on demand"), 0);
}

#[tokio::test]
async fn ended_sessions_learn_why() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(emulator.end_sessions("orders", "amqp:internal-error", "on demand"), 1);
    let Err(RecvError::LinkStateError(LinkStateError::SessionStopped(reason))) =
        within(receiver.recv::<Body<Value>>()).await
    else {
        panic!("the session did not end")
    };
    let SessionStopReason::RemoteEndedWithError(error) = reason else { panic!("{reason:?}") };
    assert_eq!(Refusal::from(error), refusal("amqp:internal-error"));
}

#[tokio::test]
async fn closed_connections_learn_why() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(emulator.close_connections("amqp:connection:forced", "on demand"), 1);
    let end = within(client.connection.on_close()).await;
    let text = format!("{end:?}");
    assert!(text.contains("ConnectionForced") && text.contains("on demand"), "{text}");
    assert!(within(receiver.recv::<Body<Value>>()).await.is_err());
}

#[tokio::test]
async fn dropped_connections_see_the_end_of_the_stream() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    assert_eq!(emulator.drop_connections(), 1);
    let end = within(client.connection.on_close()).await;
    assert!(format!("{end:?}").contains("UnexpectedEof"), "{end:?}");
    let message = Message::builder().value(Value::Null).build();
    let sent: Result<_, SendError> = within(sender.send(message)).await;
    assert!(sent.is_err(), "{sent:?}");
}

const BUSY: &str = "com.microsoft:server-busy";

#[tokio::test]
async fn as_many_attaches_are_refused_as_asked_for() {
    let emulator = orders().await;
    emulator.refuse_attaches("orders", 2, BUSY, "on demand").unwrap();
    let mut client = Client::connect(&emulator).await;
    let refused = client.read("0", Reading::default()).await.unwrap_err();
    assert_eq!(refused, refusal(BUSY));
    let Err(refused) = client.sender("orders").await else { panic!("the second attach is not refused") };
    assert_eq!(refused, refusal(BUSY));
    client.read("0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn as_many_messages_are_rejected_as_asked_for() {
    let emulator = orders().await;
    emulator.refuse_sends("orders", 1, BUSY, "on demand").unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    let message = || Message::builder().body(Body::<Value>::Empty).build();
    let outcome = within(sender.send(message())).await.unwrap();
    assert!(format!("{outcome:?}").contains(BUSY), "{outcome:?}");
    let outcome = within(sender.send(message())).await.unwrap();
    assert!(outcome.is_accepted(), "{outcome:?}");
}

#[tokio::test]
async fn paused_deliveries_come_when_they_are_resumed() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    emulator.pause_deliveries("orders").unwrap();
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    // what comes over the same connection meanwhile shows that the pause is of the hub only
    let mut other = client.node("$management").await;
    let properties = [("operation", "READ"), ("type", "com.microsoft:eventhub"), ("name", "orders")];
    assert_eq!(other.ask(properties, Body::Empty, None).await.code, 200);
    let early = receiver.recv::<Body<Value>>().now_or_never();
    assert!(early.is_none(), "{early:?}");
    emulator.resume_deliveries("orders").unwrap();
    next(&mut receiver).await;
}

#[tokio::test]
async fn expired_tokens_end_the_links_and_another_token_helps() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(emulator.expire_tokens(), 1);
    assert_eq!(end_of(&mut receiver).await.condition, "amqp:unauthorized-access");
    assert!(client.read("0", Reading::default()).await.is_err());
    client.reauthorize().await;
    client.read("0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn frozen_connections_fall_silent_and_others_are_served() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(emulator.freeze_connections(), 1);
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    let mut other = Client::connect(&emulator).await;
    let mut witness = other.read("0", Reading::default()).await.unwrap();
    next(&mut witness).await;
    let silent = receiver.recv::<Body<Value>>().now_or_never();
    assert!(silent.is_none(), "{silent:?}");
    within(emulator.stop()).await;
}
