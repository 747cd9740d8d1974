//! A bare receiver of fe2o3-amqp, to compare with.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection, Receiver, Session};
use fe2o3_amqp_types::definitions::{ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{Data, Message};
use fe2o3_amqp_types::primitives::Value;
use futures::future::try_join_all;

use super::{InOrder, Orders, Outcome, limit};
use crate::meter::Meter;

/// A session and a task per partition, as our own client has it.
pub(super) async fn read(orders: &Orders, meter: &Arc<Meter>) -> Outcome {
    let Open { connections, links } = open(orders).await?;
    let readers = (0..).zip(links).map(|(id, (session, receiver))| {
        let meter = Arc::clone(meter);
        async move {
            let read = tokio::spawn(read_one(id, receiver, meter)).await?;
            drop(session);
            read
        }
    });
    let read = try_join_all(readers).await.map(drop);
    drop(connections);
    read
}

/// What must live so that events come.
pub(super) struct Open {
    connections: Vec<ConnectionHandle<()>>,
    links: Vec<(SessionHandle<()>, Receiver)>,
}

/// A link for each partition.
pub(super) async fn open(orders: &Orders) -> Result<Open, Box<dyn Error + Send + Sync>> {
    let mut connections = Vec::new();
    for _ in 0..orders.connections {
        let opening = Connection::builder().container_id("bench").hostname("localhost").channel_max(u16::MAX);
        let opening = opening.sasl_profile(SaslProfile::Anonymous);
        connections.push(opening.open_with_stream(limit::connect(orders).await?).await?);
    }
    let mut links = Vec::new();
    for id in 0..orders.partitions {
        let mut session = Session::begin(&mut connections[(id % orders.connections) as usize]).await?;
        let receiver = Receiver::builder()
            .name(format!("bench-{id}"))
            .source(format!("hub/ConsumerGroups/$Default/Partitions/{id}"))
            .sender_settle_mode(SenderSettleMode::Settled)
            .receiver_settle_mode(ReceiverSettleMode::First)
            .credit_mode(CreditMode::Auto(orders.prefetch))
            .auto_accept(false)
            .attach(&mut session)
            .await?;
        links.push((session, receiver));
    }
    Ok(Open { connections, links })
}

async fn read_one(id: u32, mut receiver: Receiver, meter: Arc<Meter>) -> Outcome {
    let mut order = InOrder::default();
    loop {
        let delivery = receiver.recv::<Data>().await?;
        // Of a pre-settled delivery this only counts; without it the link gets no more credit.
        receiver.accept(&delivery).await?;
        let message = delivery.into_message();
        order.check(sequence_number(&message).ok_or("an event without a sequence number")?)?;
        meter.comes_from(|| id);
        meter.look_at(&message.body.0);
        meter.count(1);
    }
}

fn sequence_number(message: &Message<Data>) -> Option<i64> {
    let annotations = message.message_annotations.as_ref()?;
    let get = |name: &str| annotations.0.get(&OwnedKey::from(name));
    black_box((get("x-opt-offset"), get("x-opt-enqueued-time")));
    match get("x-opt-sequence-number") {
        Some(Value::Long(number)) => Some(*number),
        _ => None,
    }
}
