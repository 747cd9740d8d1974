//! A whole hash, with the time of the server.

use std::time::SystemTime;

use eventhubs_checkpoint_store::Result;
use eventhubs_types::ConsumerScope;

use crate::error;
use crate::names::Kind;
use crate::records::{self, MAX_LISTED, MAX_VALUE};
use crate::shared::Shared;

/// What a hash holds.
pub(crate) struct Listing {
    /// The time before the first record was read.
    pub(crate) now: SystemTime,
    /// How many records there are, those that were not read included.
    pub(crate) count: usize,
    /// Field, version and value of each record.
    pub(crate) records: Vec<[Vec<u8>; 3]>,
}

pub(crate) async fn read(
    shared: &Shared,
    context: &'static str,
    scope: &ConsumerScope,
    kind: Kind,
) -> Result<Listing> {
    let key = shared.names.key(scope, kind);
    let prepare = |call: &mut redis::ScriptInvocation<'_>| {
        call.key(key).arg(MAX_LISTED).arg(MAX_VALUE);
    };
    let reply: Vec<Vec<u8>> = shared.link.script(context, &shared.scripts.list, prepare).await?;
    parse(reply).ok_or_else(|| error::answer(context, "the script returned no listing"))
}

fn parse(reply: Vec<Vec<u8>>) -> Option<Listing> {
    let mut reply = reply.into_iter();
    let now = records::time(&records::text(&reply.next()?))?;
    let count = records::text(&reply.next()?).parse().ok()?;
    let mut records = Vec::with_capacity(reply.len() / 3);
    while let Some(field) = reply.next() {
        records.push([field, reply.next()?, reply.next()?]);
    }
    Some(Listing { now, count, records })
}
