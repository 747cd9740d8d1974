//! Ownership records, claims on them, and their outcomes.

use std::fmt;
use std::time::SystemTime;

use eventhubs_types::{OwnerId, PartitionId};
use smol_str::SmolStr;

use crate::{Audience, Error};

/// One version of one record, opaque to all but the store that gave it: an etag, a row version, a revision.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(SmolStr);

impl Version {
    /// Takes the store's own word for a version.
    pub fn new(version: impl AsRef<str>) -> Self {
        Self(version.as_ref().into())
    }

    /// The version as the store wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A note on an ownership record, from one balancer to others of its kind. A store keeps it and does not read
/// it.
///
/// It stays until the next write, which brings its own or none. Other SDKs know nothing of it, and their
/// writes erase it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Mark(SmolStr);

impl Mark {
    /// A note of this text. A store may refuse what is not printable ASCII.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a write expects to find. There is deliberately no unconditional write: that is how a partition ends
/// up with two owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// No record.
    Absent,
    /// Exactly this version.
    Version(Version),
}

/// The record of who owns a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ownership {
    /// The partition.
    pub partition: PartitionId,
    /// The owner; `None` when the last owner released the partition.
    pub owner: Option<OwnerId>,
    /// The version of the record: it changes with every claim that is won, a renewal included.
    pub version: Version,
    /// When the record was last written, by the clock of the store; `None` where the store has no clock.
    pub modified: Option<SystemTime>,
    /// The note that the last write left; `None` where it left none.
    pub mark: Option<Mark>,
}

impl Ownership {
    /// A record without a mark, as a store read or wrote it.
    pub fn new(
        partition: PartitionId,
        owner: Option<OwnerId>,
        version: Version,
        modified: Option<SystemTime>,
    ) -> Self {
        Self { partition, owner, version, modified, mark: None }
    }

    /// The record with this mark.
    #[must_use]
    pub fn with_mark(mut self, mark: Option<Mark>) -> Self {
        self.mark = mark;
        self
    }
}

/// All ownership records of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OwnershipList {
    /// The records, at most one per partition, in no particular order.
    pub records: Vec<Ownership>,
    /// The time of the listing by the clock that also wrote [`Ownership::modified`]; `None` where the store
    /// has no clock. Leases are judged by this clock, never by the clock of an instance.
    pub now: Option<SystemTime>,
    /// Records that could not be read. They never fail the listing, and nobody can claim their partitions. A
    /// record that has a version but no owner that makes sense belongs to `records`, without an owner: that
    /// heals with a claim.
    pub rejected: Vec<RejectedRecord>,
}

impl OwnershipList {
    /// A listing as a store read it.
    pub fn new(records: Vec<Ownership>, now: Option<SystemTime>, rejected: Vec<RejectedRecord>) -> Self {
        Self { records, now, rejected }
    }
}

/// A record that is there but makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedRecord {
    /// The store's name of the record.
    pub name: String,
    /// Why it was rejected.
    pub reason: String,
}

impl RejectedRecord {
    /// A rejected record.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), reason: reason.into() }
    }
}

/// One compare-and-swap of an ownership record. To renew, take, steal and release are all this operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// The partition.
    pub partition: PartitionId,
    /// The owner to write; `None` releases the partition.
    pub owner: Option<OwnerId>,
    /// What must be there for the claim to be won.
    pub expected: Expected,
    /// The note to leave.
    pub mark: Option<Mark>,
    /// Who is to hear of it at once, once it is won; `None` for most claims.
    pub announces_to: Option<Audience>,
}

impl Claim {
    /// A claim without a mark for `owner`, or a release where that is `None`.
    pub fn new(partition: PartitionId, owner: Option<OwnerId>, expected: Expected) -> Self {
        Self { partition, owner, expected, mark: None, announces_to: None }
    }

    /// The claim, which is announced to this audience, or to nobody, once it is won: see
    /// [`CheckpointStore::watch`](crate::CheckpointStore::watch). A store without `watch` ignores it.
    #[must_use]
    pub fn announcing(mut self, audience: impl Into<Option<Audience>>) -> Self {
        self.announces_to = audience.into();
        self
    }

    /// The claim with this mark.
    #[must_use]
    pub fn with_mark(mut self, mark: Option<Mark>) -> Self {
        self.mark = mark;
        self
    }
}

/// What became of a claim.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClaimOutcome {
    /// The record is now as claimed, with a new version.
    Won(Ownership),
    /// The record was not as expected: somebody else wrote it. This is no error.
    Lost,
    /// The store failed; the claim may or may not have been applied.
    Failed(Error),
}
