//! One applied claim, and the numbers of its instance and partition: what the ledger and its history share.

/// The number of an instance, in the order of their start.
pub(crate) type InstanceId = usize;

/// The number of a partition.
pub(crate) type PartitionIndex = usize;

/// A claim that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) partition: PartitionIndex,
    /// The version that the writer expected; `None` for no record.
    pub(crate) expected: Option<u64>,
    pub(crate) version: u64,
    pub(crate) owner: Option<InstanceId>,
}
