//! Values of the hashes: fields with a separator between them, which no name can have in it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{
    Checkpoint, Claim, Error, ErrorKind, Expected, Mark, Ownership, RejectedRecord, Result, Version,
};
use eventhubs_types::{Offset, OwnerId, PartitionId, SequenceNumber};

/// The most records of a scope that a listing reads; the largest event hub has 2000 partitions.
pub const MAX_LISTED: usize = 8 * 1024;

/// The longest mark and the longest offset that are written, in bytes.
pub(crate) const MAX_TEXT: usize = 4096;

/// The longest value that is read, in bytes; a longer one was not written by this store.
pub(crate) const MAX_VALUE: usize = 8 * 1024;

/// What is between the fields of a value: the unit separator of ASCII.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// What a script must find for a version, where none is to be there.
pub(crate) const ABSENT: &str = "";

/// What no record has for a version.
const NEVER: &str = "-";

/// Returns a version that nobody else has chosen.
///
/// A counter would come back after a fail-over: the replica that takes over gives the number again that the old
/// master gave to somebody else, who then renews what he has lost.
#[expect(clippy::disallowed_methods, reason = "a version that a seed repeats is none")]
pub(crate) fn new_version() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// What a script is to find.
pub(crate) fn expected(expected: &Expected) -> &str {
    match expected {
        Expected::Absent => ABSENT,
        // Another store's empty version must not read as none.
        Expected::Version(version) if version.as_str().is_empty() => NEVER,
        Expected::Version(version) => version.as_str(),
    }
}

/// The value of an ownership record after its version and its time.
pub(crate) fn rest_of_claim(claim: &Claim) -> Result<String> {
    let mut rest = claim.owner.as_ref().map_or("", OwnerId::as_str).to_owned();
    if let Some(mark) = &claim.mark {
        check_length("mark", mark.as_str())?;
        rest.push(SEPARATOR);
        rest.push_str(mark.as_str());
    }
    Ok(rest)
}

/// The value of a checkpoint after its version and its time.
pub(crate) fn rest_of_checkpoint(checkpoint: &Checkpoint) -> Result<String> {
    if checkpoint.offset.is_none() && checkpoint.sequence_number.is_none() {
        let text = "checkpoint: it has neither an offset nor a sequence number";
        return Err(Error::new(ErrorKind::InvalidArgument, text));
    }
    let mut rest = checkpoint.sequence_number.map(|number| number.to_string()).unwrap_or_default();
    if let Some(offset) = &checkpoint.offset {
        check_length("offset", offset.as_str())?;
        rest.push(SEPARATOR);
        rest.push_str(offset.as_str());
    }
    Ok(rest)
}

/// Reads the value of a field as an ownership record. One whose owner or time makes no sense counts as released,
/// so that a claim heals it.
pub(crate) fn ownership(
    field: &[u8],
    version: &[u8],
    value: &[u8],
) -> std::result::Result<Ownership, RejectedRecord> {
    let rejected = |reason: &str| RejectedRecord::new(String::from_utf8_lossy(field), reason);
    let partition = partition(field).ok_or_else(|| rejected("it is no partition id"))?;
    let fields = Fields::of(version, value).ok_or_else(|| rejected("its value is not of this store"))?;
    let modified = time(fields.time);
    let owner = modified.and_then(|_| OwnerId::new(fields.first).ok());
    let record = Ownership::new(partition, owner, Version::new(fields.version), modified);
    Ok(record.with_mark(fields.last.map(Mark::new)))
}

/// Reads the value of a field as a checkpoint; one that makes no sense has neither an offset nor a sequence number.
pub(crate) fn checkpoint(partition: &PartitionId, version: &[u8], value: &[u8]) -> Checkpoint {
    let fields = Fields::of(version, value);
    let offset = fields.as_ref().and_then(|fields| fields.last).map(Offset::new);
    let number = fields.as_ref().and_then(|fields| fields.first.parse().ok()).map(SequenceNumber::new);
    if offset.is_none() && number.is_none() {
        tracing::warn!(%partition, "a checkpoint has no usable position");
    }
    let version = Version::new(String::from_utf8_lossy(version));
    Checkpoint::new(partition.clone(), offset, number).with_version(version)
}

/// The partition that a field is named after.
pub(crate) fn partition(field: &[u8]) -> Option<PartitionId> {
    PartitionId::new(std::str::from_utf8(field).ok()?).ok()
}

/// A time in microseconds since 1970.
pub(crate) fn time(micros: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros.parse().ok()?))
}

/// A reply as text, where a malformed one is shown and not refused.
pub(crate) fn text(reply: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(reply)
}

/// The fields of a value; the last one may have separators in it.
struct Fields<'a> {
    version: &'a str,
    time: &'a str,
    first: &'a str,
    last: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// `None` for a value that does not begin with its version, which is a hash then.
    fn of(version: &[u8], value: &'a [u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(value).ok()?.splitn(4, SEPARATOR);
        let own = fields.next().filter(|own| own.as_bytes() == version)?;
        let (time, first) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        Some(Self { version: own, time, first, last: fields.next() })
    }
}

fn check_length(field: &str, text: &str) -> Result<()> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    let reason = format!("{field}: {} bytes are more than the {MAX_TEXT} that the store takes", text.len());
    Err(Error::new(ErrorKind::InvalidArgument, reason))
}
