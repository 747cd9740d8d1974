use std::hint::black_box;
use std::sync::Arc;

use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::{Connection, Receiver, Session};
use fe2o3_amqp_types::definitions::{ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{Data, Message};
use fe2o3_amqp_types::primitives::Value;
use futures::future::try_join_all;

use super::{InOrder, Orders, Outcome, limit};
use crate::meter::Meter;

/// One connection, a session and a task per partition, as our own client has it.
pub(super) async fn read(orders: &Orders, meter: &Arc<Meter>) -> Outcome {
    let mut connection = Connection::builder()
        .container_id("bench")
        .hostname("localhost")
        .sasl_profile(SaslProfile::Anonymous)
        .open_with_stream(limit::connect(orders).await?)
        .await?;
    let mut readers = Vec::new();
    for id in 0..orders.partitions {
        let mut session = Session::begin(&mut connection).await?;
        let receiver = Receiver::builder()
            .name(format!("bench-{id}"))
            .source(format!("hub/ConsumerGroups/$Default/Partitions/{id}"))
            .sender_settle_mode(SenderSettleMode::Settled)
            .receiver_settle_mode(ReceiverSettleMode::First)
            .credit_mode(CreditMode::Auto(orders.prefetch))
            .auto_accept(false)
            .attach(&mut session)
            .await?;
        let meter = Arc::clone(meter);
        readers.push(async move {
            let read = tokio::spawn(read_one(id, receiver, meter)).await?;
            drop(session);
            read
        });
    }
    try_join_all(readers).await.map(drop)
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
