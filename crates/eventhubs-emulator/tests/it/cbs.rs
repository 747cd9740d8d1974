//! Tokens over CBS, and SASL, which decide what a connection may open.

use std::time::Duration;

use fe2o3_amqp::connection::OpenError;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::messaging::MessageId;
use fe2o3_amqp::types::messaging::{AmqpValue, Body};
use fe2o3_amqp::types::primitives::{Uuid, Value};

use eventhubs_emulator::Emulator;
use tokio::net::TcpStream;

use crate::client::{
    Client, KEY, Reading, Refusal, SAS, end_of, in_an_hour, next, orders, start, text, token, within,
};

const HOUR: Duration = Duration::from_secs(3600);
const HUB: &str = "sb://127.0.0.1/orders";

#[tokio::test]
async fn a_signed_token_opens_its_hub() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let mut cbs = client.node("$cbs").await;
    let response = cbs.put_token(SAS, HUB, &token(HUB, KEY, in_an_hour())).await;
    assert_eq!((response.code, response.description.as_str()), (202, "Accepted"));
    client.read("0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn without_a_token_every_entity_is_closed() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let refusal = client.read("0", Reading::default()).await.unwrap_err();
    assert_eq!(refusal.condition, "amqp:unauthorized-access");
    let refusal = client.sender("orders").await.unwrap_err();
    assert_eq!(refusal.condition, "amqp:unauthorized-access");
    let mut management = client.node("$management").await;
    let properties = [("operation", "READ"), ("type", "com.microsoft:eventhub"), ("name", "orders")];
    assert_eq!(management.ask(properties, Body::Empty, None).await.code, 401);
}

#[tokio::test]
async fn a_token_for_one_consumer_group_opens_no_other() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let mut cbs = client.node("$cbs").await;
    let audience = "sb://127.0.0.1/orders/consumergroups/billing";
    assert_eq!(cbs.put_token(SAS, audience, &token(audience, KEY, in_an_hour())).await.code, 202);
    let refusal = client.read("0", Reading::default()).await.unwrap_err();
    assert_eq!(refusal.condition, "amqp:unauthorized-access");
    client.receiver("orders/ConsumerGroups/billing/Partitions/0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn a_bad_token_is_answered_with_401_and_opens_nothing() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let mut cbs = client.node("$cbs").await;
    for (bad, text) in [
        (token(HUB, (KEY.0, "wrong"), in_an_hour()), "InvalidSignature"),
        (token(HUB, ("Unknown", KEY.1), in_an_hour()), "InvalidSignature"),
        (token(HUB, KEY, 1_700_000_000), "ExpiredToken"),
        (token("sb://127.0.0.1/other", KEY, in_an_hour()), "InvalidAudience"),
        ("garbage".to_owned(), "MalformedToken"),
    ] {
        let response = cbs.put_token(SAS, HUB, &bad).await;
        assert_eq!(response.code, 401);
        assert!(response.description.starts_with(text), "{}", response.description);
    }
    assert!(client.read("0", Reading::default()).await.is_err());
}

#[tokio::test]
async fn any_json_web_token_is_accepted_and_nothing_else_that_calls_itself_one() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let mut cbs = client.node("$cbs").await;
    assert_eq!(cbs.put_token("jwt", HUB, "header.claims.signature").await.code, 202);
    for token in ["", "text", "header.claims", "header..signature", "a.b.c.d", "a b.c.d"] {
        assert_eq!(cbs.put_token("jwt", HUB, token).await.code, 401, "{token}");
    }
    client.read("0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn with_own_keys_a_json_web_token_needs_to_be_allowed() {
    let builder = || Emulator::builder().event_hub("orders", 1).shared_access_key("own", "K");
    for (builder, code) in [(builder(), 401), (builder().accept_any_jwt(), 202)] {
        let emulator = start(builder).await;
        let mut client = Client::anonymous(&emulator).await;
        let mut cbs = client.node("$cbs").await;
        assert_eq!(cbs.put_token("jwt", HUB, "header.claims.signature").await.code, code);
    }
}

#[tokio::test]
async fn a_token_for_an_unknown_hub_is_answered_with_404() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let mut cbs = client.node("$cbs").await;
    let audience = "sb://127.0.0.1/unknown";
    let response = cbs.put_token(SAS, audience, &token(audience, KEY, in_an_hour())).await;
    assert_eq!(response.code, 404);
    assert_eq!(response.description, "The messaging entity 'sb://127.0.0.1/unknown' could not be found.");
}

#[tokio::test]
async fn the_response_carries_the_message_id_in_its_own_type() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let mut cbs = client.node("$cbs").await;
    for id in [MessageId::Uuid(Uuid::from([7; 16])), MessageId::String("id".into()), MessageId::Ulong(1)] {
        let token = token(HUB, KEY, in_an_hour());
        let body = Body::Value(AmqpValue(Value::from(token)));
        let properties = [("operation", "put-token"), ("type", SAS), ("name", HUB)];
        let response = cbs.ask(properties, body, Some(id.clone())).await;
        assert_eq!((response.code, response.correlation_id), (202, Some(id)));
    }
}

#[tokio::test]
async fn a_second_cbs_node_on_a_connection_is_refused() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let _cbs = client.node("$cbs").await;
    let refusal = client.receiver("$cbs", Reading::default()).await.unwrap_err();
    assert_eq!(refusal.condition, "amqp:not-allowed");
    assert_eq!(refusal.description, "$cbs node has already been opened.");
}

#[tokio::test]
async fn the_keys_of_the_builder_replace_the_default_one() {
    let builder = Emulator::builder().event_hub("orders", 1);
    let emulator = start(builder.shared_access_key("first", "K1").shared_access_key("second", "K2")).await;
    assert!(emulator.connection_string("orders").contains(";SharedAccessKeyName=first;SharedAccessKey=K1;"));
    let mut client = Client::anonymous(&emulator).await;
    let mut cbs = client.node("$cbs").await;
    for (key, code) in [(("first", "K1"), 202), (("second", "K2"), 202), (("second", "K1"), 401), (KEY, 401)]
    {
        assert_eq!(cbs.put_token(SAS, HUB, &token(HUB, key, in_an_hour())).await.code, code, "{key:?}");
    }
}

fn expired() -> Refusal {
    Refusal {
        condition: "amqp:unauthorized-access".into(),
        description: "ExpiredToken: The token is expired.".into(),
    }
}

#[tokio::test]
async fn links_end_with_their_token() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    let mut sender = client.sender("orders").await.unwrap();
    emulator.advance_clock(2 * HOUR);
    assert_eq!(end_of(&mut receiver).await, expired());
    let end = within(sender.on_detach()).await;
    assert!(format!("{end:?}").contains("UnauthorizedAccess"), "{end:?}");
    let refusal = client.read("0", Reading::default()).await.unwrap_err();
    assert_eq!(refusal.condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_renewed_token_keeps_links_open_for_as_long_as_it_lasts() {
    let emulator = orders().await;
    let mut client = Client::anonymous(&emulator).await;
    let mut cbs = client.node("$cbs").await;
    for expiry in [in_an_hour(), in_an_hour() + 3 * HOUR.as_secs()] {
        let token = token("sb://host/orders", KEY, expiry);
        assert_eq!(cbs.put_token(SAS, "sb://host/orders", &token).await.code, 202);
    }
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    emulator.advance_clock(2 * HOUR);
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    next(&mut receiver).await;
    emulator.advance_clock(3 * HOUR);
    assert_eq!(end_of(&mut receiver).await, expired());
}

fn plain(name: &str, key: &str) -> SaslProfile {
    SaslProfile::Plain { username: name.into(), password: key.into() }
}

#[tokio::test]
async fn sasl_plain_with_a_policy_and_its_key_opens_everything() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    let stream = async || TcpStream::connect(emulator.address()).await.unwrap();
    let mut client = Client::introduced(stream().await, plain(KEY.0, KEY.1)).await.unwrap();
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(text(&next(&mut receiver).await), "event");

    for (name, key) in [(KEY.0, "wrong"), ("Nobody", KEY.1), ("", "")] {
        let refused = Client::introduced(stream().await, plain(name, key)).await;
        assert!(matches!(refused, Err(OpenError::SaslError { .. })), "{name}");
    }
}
