use std::time::Duration;

use eventhubs_emulator::{
    ErrorKind, Fault, Request, RequestKind, Schedule, ScheduleSettings, Throttle, Verdict,
};
use eventhubs_test_harness::until;
use fe2o3_amqp::link::{LinkStateError, RecvError, SendError, SessionStopReason};
use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::messaging::{AmqpValue, Body, Message};
use fe2o3_amqp::types::performatives::Flow;
use fe2o3_amqp::types::primitives::Value;
use futures::FutureExt;

use crate::client::{
    Client, KEY, Node, Reading, Refusal, SAS, end_of, in_an_hour, next, orders, token, within,
};
use crate::frames::{FLOW, Raw, attach};

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

fn empty() -> Message<Body<Value>> {
    Message::builder().body(Body::Empty).build()
}

/// Asks for the properties of the hub.
async fn read(management: &mut Node) -> i32 {
    let properties = [("operation", "READ"), ("type", "com.microsoft:eventhub"), ("name", "orders")];
    management.ask(properties, Body::Empty, None).await.code
}

/// The credit that the client has for its only link to an entity.
async fn credit(client: &mut Raw) -> Option<u32> {
    let flow: Flow = serde_amqp::from_slice(&client.until(FLOW).await).unwrap();
    flow.link_credit
}

#[tokio::test]
async fn starved_producers_lose_their_credit_and_get_it_back() {
    let emulator = orders().await;
    let mut client = Raw::connect(&emulator).await;
    client.send(&attach(1, "producer", Role::Sender, "orders")).await;
    let fed = credit(&mut client).await;
    assert!(fed > Some(0), "{fed:?}");
    emulator.starve_producers("Orders").unwrap();
    // two flows: of the link to $cbs, which stays as it is, there is none
    assert_eq!(credit(&mut client).await, Some(0));
    client.send(&attach(2, "another", Role::Sender, "orders/Partitions/0")).await;
    assert_eq!(credit(&mut client).await, Some(0));
    emulator.feed_producers("orders").unwrap();
    assert_eq!([credit(&mut client).await, credit(&mut client).await], [fed, fed]);
}

#[tokio::test]
async fn a_garbled_frame_ends_its_connection_only() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(emulator.corrupt_frames(1), 1);
    let mut other = Client::connect(&emulator).await;
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    assert!(within(receiver.recv::<Body<Value>>()).await.is_err());
    let mut witness = other.read("0", Reading::default()).await.unwrap();
    next(&mut witness).await;
}

#[tokio::test]
async fn a_slow_connection_gets_byte_after_byte() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(emulator.slow_connections(1), 1);
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    let mut other = Client::connect(&emulator).await;
    next(&mut other.read("0", Reading::default()).await.unwrap()).await;
    let early = receiver.recv::<Body<Value>>().now_or_never();
    assert!(early.is_none(), "{early:?}");
    assert_eq!(emulator.slow_connections(0), 2);
    next(&mut receiver).await;
}

#[tokio::test]
async fn a_deaf_connection_still_gets_events() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    let mut sender = client.sender("orders/Partitions/0").await.unwrap();
    assert_eq!(emulator.deafen_connections(), 1);
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    within(receiver.recv::<Body<Value>>()).await.unwrap();
    assert!(sender.send(empty()).now_or_never().is_none());
    assert_eq!(emulator.partition("orders", "0").unwrap().event_count, 1);
}

#[tokio::test]
async fn a_mute_connection_is_still_heard() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    let mut sender = client.sender("orders/Partitions/0").await.unwrap();
    assert_eq!(emulator.mute_connections(), 1);
    let sending = tokio::spawn(async move { sender.send(empty()).await });
    until("the event is stored", || emulator.partition("orders", "0").unwrap().event_count == 1).await;
    assert!(receiver.recv::<Body<Value>>().now_or_never().is_none());
    assert!(!sending.is_finished());
}

#[tokio::test]
async fn a_throttled_hub_is_too_busy_for_everything() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    let mut management = client.node("$management").await;
    emulator.throttle("orders", Throttle::Next(3)).unwrap();
    let outcome = within(sender.send(empty())).await.unwrap();
    assert!(format!("{outcome:?}").contains(BUSY), "{outcome:?}");
    assert_eq!(read(&mut management).await, 503);
    let refused = client.read("0", Reading::default()).await.unwrap_err();
    assert_eq!(refused.condition, BUSY);
    assert!(refused.description.contains("Error code : 50002"), "{}", refused.description);
    assert_eq!(read(&mut management).await, 200);
    emulator.throttle("orders", Throttle::For(Duration::from_secs(3600))).unwrap();
    assert_eq!(read(&mut management).await, 503);
    emulator.throttle("orders", Throttle::Next(0)).unwrap();
    assert!(within(sender.send(empty())).await.unwrap().is_accepted());
}

#[tokio::test]
async fn delayed_events_come_later_or_when_the_delay_ends() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    emulator.delay_deliveries("orders", Duration::from_secs(3600)).unwrap();
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    let mut management = client.node("$management").await;
    assert_eq!(read(&mut management).await, 200);
    assert!(receiver.recv::<Body<Value>>().now_or_never().is_none());
    emulator.delay_deliveries("orders", Duration::from_millis(1)).unwrap();
    next(&mut receiver).await;
}

#[tokio::test]
async fn delayed_requests_are_answered_later() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut management = client.node("$management").await;
    emulator.delay_requests(Duration::from_millis(50));
    let asked = tokio::time::Instant::now();
    assert_eq!(read(&mut management).await, 200);
    assert!(asked.elapsed() >= Duration::from_millis(50));
}

fn refuse() -> Verdict {
    Verdict::Refuse { condition: BUSY.into(), description: "intercepted".into() }
}

#[tokio::test]
async fn a_test_decides_about_each_kind_of_request() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    let mut management = client.node("$management").await;
    let mut other = Client::anonymous(&emulator).await;
    let mut cbs = other.node("$cbs").await;
    emulator.intercept(|_| refuse());
    let outcome = within(sender.send(empty())).await.unwrap();
    assert!(format!("{outcome:?}").contains("intercepted"), "{outcome:?}");
    assert_eq!(read(&mut management).await, 503);
    let response = cbs.put_token(SAS, "sb://host/", &token("sb://host/", KEY, in_an_hour())).await;
    assert_eq!((response.code, response.description.as_str()), (503, "intercepted"));
    assert_eq!(client.read("0", Reading::default()).await.unwrap_err().description, "intercepted");
    emulator.stop_intercepting();
    client.read("0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn a_test_sees_what_is_asked_for() {
    let emulator = orders().await;
    let (seen, mut asked) = tokio::sync::mpsc::channel(100);
    emulator.intercept(move |request: &Request<'_>| {
        seen.try_send((request.kind, request.address.to_owned(), request.size > 0)).unwrap();
        Verdict::Pass
    });
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    let body = Body::Value(AmqpValue(Value::Int(1)));
    within(sender.send(Message::builder().body(body).build())).await.unwrap();
    let mut management = client.node("$management").await;
    read(&mut management).await;
    emulator.stop_intercepting();
    let mut all = Vec::new();
    while let Some((kind, address, has_size)) = asked.recv().await {
        assert_eq!(has_size, kind == RequestKind::Send);
        all.push((kind, address));
    }
    let expected = [
        (RequestKind::Attach, "$cbs"),
        (RequestKind::Attach, "$cbs"),
        (RequestKind::PutToken, "sb://host/"),
        (RequestKind::Attach, "orders"),
        (RequestKind::Send, "orders"),
        (RequestKind::Attach, "$management"),
        (RequestKind::Attach, "$management"),
        (RequestKind::Read, "orders"),
    ];
    assert_eq!(all, expected.map(|(kind, address)| (kind, address.to_owned())));
}

#[tokio::test]
async fn a_dropped_message_is_neither_kept_nor_answered() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut dropped = client.sender("orders/Partitions/1").await.unwrap();
    let mut kept = client.sender("orders/Partitions/2").await.unwrap();
    emulator.intercept(|request| match request.address {
        "orders/Partitions/1" => Verdict::Drop,
        _ => Verdict::Delay(Duration::from_millis(1)),
    });
    let sending = tokio::spawn(async move { dropped.send(empty()).await });
    assert!(within(kept.send(empty())).await.unwrap().is_accepted());
    assert!(!sending.is_finished());
    assert_eq!(emulator.partition("orders", "1").unwrap().event_count, 0);
}

#[tokio::test]
async fn a_played_schedule_leaves_everything_well() {
    let emulator = orders().await;
    let mut settings = ScheduleSettings::for_event_hubs(["orders"]);
    settings.duration = Duration::from_millis(300);
    settings.mean_pause = Duration::from_millis(5);
    settings.longest_outage = Duration::from_millis(20);
    let schedule = Schedule::generate(1, &settings);
    assert!(schedule.steps().len() > 20, "{schedule}");
    emulator.play(&schedule).await.unwrap();
    // at most so many attaches, messages and frames are hit yet
    emulator.refuse_attaches("orders", 0, BUSY, "").unwrap();
    emulator.throttle("orders", Throttle::Next(0)).unwrap();
    let mut client = Client::connect(&emulator).await;
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    next(&mut client.read("0", Reading::default()).await.unwrap()).await;
}

#[tokio::test]
async fn a_fault_for_an_unknown_hub_is_an_error() {
    let emulator = orders().await;
    let fault = Fault::StarveProducers { event_hub: "unknown".into() };
    assert_eq!(emulator.inject(&fault).unwrap_err().kind(), ErrorKind::NotFound);
}
