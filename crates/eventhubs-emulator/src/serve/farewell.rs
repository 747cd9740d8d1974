//! How links end, and what a producer hears of a message. Tests: those of `tests/it`.

use std::time::Duration;

use fe2o3_amqp::{Receiver, Sender};
use fe2o3_amqp_types::messaging::{Accepted, Batch, Data, DeliveryState, Rejected};
use tokio::time::timeout;

use crate::condition::Condition;

/// How long a client may take to answer a detach, an end or a close.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Detaches with an error, and waits for the client's answer a moment.
pub(crate) async fn close_sender(sender: Sender, reason: Condition) {
    let _ = timeout(FAREWELL_TIMEOUT, sender.close_with_error(reason)).await;
}

/// What a producer hears of a message.
pub(crate) fn outcome(result: Result<(), Condition>) -> DeliveryState {
    match result {
        Ok(()) => DeliveryState::Accepted(Accepted {}),
        Err(reason) => DeliveryState::Rejected(Rejected { error: Some(reason.into()) }),
    }
}

/// Waits until the client detaches. The AMQP library gets no transfer that it could return instead.
pub(crate) async fn detached(receiver: &mut Receiver) {
    while receiver.recv::<Batch<Data>>().await.is_ok() {}
}

/// As [`close_sender`], for the other direction.
pub(crate) async fn close_receiver(receiver: Receiver, reason: Condition) {
    let _ = timeout(FAREWELL_TIMEOUT, receiver.close_with_error(reason)).await;
}
