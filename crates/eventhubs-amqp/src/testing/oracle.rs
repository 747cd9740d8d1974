//! What the AMQP library makes of a message: against it our own reading is tested, and fuzzed.

use eventhubs_amqp_frames::Walk;
use eventhubs_types::EventBody;
use fe2o3_amqp_types::messaging::message::__private::Deserializable;
use fe2o3_amqp_types::messaging::{Body, Message};
use serde_amqp::Value;

use crate::event::received::decode;
use crate::testing::library_message::received;
use crate::{ErrorKind, ReceivedEvent};

/// The event, if the library can decode the message at all.
pub(crate) fn read(bytes: &[u8]) -> Option<ReceivedEvent> {
    let mut walk = Walk::default();
    walk.values(bytes).ok().filter(|()| walk.at_boundary())?;
    // A panic of the library means that it cannot decode the message either.
    let decoding = || serde_amqp::from_slice::<Deserializable<Message<Body<Value>>>>(bytes);
    let message = std::panic::catch_unwind(decoding).ok()?.ok()?;
    received(message.0).ok()
}

/// Decodes what the check before the library lets through, as the library does with the values of `$cbs`,
/// `$management` and of attaches.
///
/// # Panics
/// When the library does.
#[cfg(fuzzing)]
pub(crate) fn decode_what_is_let_through(bytes: &[u8]) {
    use fe2o3_amqp_types::performatives::{Attach, Detach};

    let mut walk = Walk::default();
    if walk.values(bytes).is_ok() && walk.at_boundary() {
        let _ = serde_amqp::from_slice::<Value>(bytes);
        let _ = serde_amqp::from_slice::<Attach>(bytes);
        let _ = serde_amqp::from_slice::<Detach>(bytes);
        let _ = serde_amqp::from_slice::<Deserializable<Message<Body<Value>>>>(bytes);
    }
}

/// # Panics
/// When the events differ in anything.
pub(crate) fn assert_same(ours: &ReceivedEvent, theirs: &ReceivedEvent) {
    assert_eq!(ours.system_properties(), theirs.system_properties());
    assert_eq!(ours.properties(), theirs.properties());
    assert_eq!(ours.body(), theirs.body());
    assert_eq!(ours.body_bytes(), theirs.body_bytes());
    assert_eq!(ours.partition_key(), theirs.partition_key());
    assert_eq!(ours.head(), theirs.head());
    assert!(ours == theirs, "{ours:?} is not {theirs:?}");
}

/// Reads any bytes both ways.
///
/// # Panics
/// When we read another event than the library, or none where it reads one.
pub(crate) fn agree(bytes: &[u8]) {
    let theirs = read(bytes);
    match decode(bytes.to_vec().into()) {
        Ok(ours) => match (ours.body(), theirs) {
            (EventBody::Undecodable(raw), _) => assert_eq!(raw, bytes),
            (_, Some(theirs)) => assert_same(&ours, &theirs),
            (_, None) => {} // we are more lenient, never less safe
        },
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(theirs.is_none());
        }
    }
}
