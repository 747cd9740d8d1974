//! How the parts of a status are written: durations as seconds, times as seconds since 1970, names as text.

#![expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use eventhubs_types::{ConsumerScope, SequenceNumber};
use serde::ser::{SerializeStruct as _, Serializer};

use crate::ErrorKind;

pub(super) fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

pub(super) fn some_seconds<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => to.serialize_some(&duration.as_secs_f64()),
        None => to.serialize_none(),
    }
}

pub(super) fn some_time<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    // A time before 1970 is one that nobody has set.
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    some_seconds(&since, to)
}

pub(super) fn number<S: Serializer>(number: &SequenceNumber, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(number.value())
}

pub(super) fn some_number<S: Serializer>(number: &Option<SequenceNumber>, to: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => to.serialize_some(&number.value()),
        None => to.serialize_none(),
    }
}

pub(super) fn text<S: Serializer>(text: &impl Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(text)
}

pub(super) fn kind<S: Serializer>(kind: &ErrorKind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.as_str())
}

pub(super) fn scope<S: Serializer>(scope: &ConsumerScope, to: S) -> Result<S::Ok, S::Error> {
    let mut written = to.serialize_struct("Scope", 3)?;
    written.serialize_field("namespace", scope.namespace.as_str())?;
    written.serialize_field("event_hub", scope.event_hub.as_str())?;
    written.serialize_field("consumer_group", scope.consumer_group.as_str())?;
    written.end()
}
