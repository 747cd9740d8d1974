//! What is left of a bounded run: the partitions that have not reached the bound, and whether the run has them all for
//! itself.

use std::collections::BTreeSet;

use eventhubs_load_balancer::Round;
use eventhubs_types::{OwnerId, PartitionId};

use crate::run::Run;
use crate::{Error, Result};

/// The partitions that a run still has to read.
#[derive(Debug)]
pub(crate) struct Remaining {
    /// `None` in a run without a bound, which never has read anything to its end.
    partitions: Option<BTreeSet<PartitionId>>,
    /// Another instance owns one of the partitions.
    rival: Option<(PartitionId, OwnerId)>,
}

impl Remaining {
    /// # Errors
    /// When the bound cannot be reached with these partitions of the event hub.
    pub(crate) fn new(run: &Run, partitions: &[PartitionId]) -> Result<Self> {
        let Some(until) = &run.options.until else { return Ok(Self { partitions: None, rival: None }) };
        if let Some(unknown) = until.unknown_among(partitions) {
            let text = format!("until: the event hub has no partition {unknown}");
            return Err(Error::invalid(text));
        }
        let own = run.instance.balancing.assignment().of(partitions);
        let own: BTreeSet<_> = own.into_iter().filter(|partition| until.reads(partition)).collect();
        let most = run.instance.balancing.max_partitions();
        if own.len() > most {
            let text = format!(
                "max_partitions: a bounded run reads all of its {} partitions, and may own {most}",
                own.len()
            );
            return Err(Error::invalid(text));
        }
        run.reads(&own);
        Ok(Self { partitions: Some(own), rival: None })
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.partitions.is_some()
    }

    /// Whether the partition is to be read.
    pub(crate) fn has(&self, partition: &PartitionId) -> bool {
        self.partitions.as_ref().is_none_or(|partitions| partitions.contains(partition))
    }

    /// A partition has reached the bound.
    pub(crate) fn remove(&mut self, partition: &PartitionId) {
        if let Some(partitions) = &mut self.partitions {
            partitions.remove(partition);
        }
    }

    /// Notes who else owns partitions. Each instance would have to know how far the others are.
    pub(crate) fn note_rival(&mut self, round: &Round) {
        self.rival.clone_from(&round.held_elsewhere);
    }

    /// Whether all is read.
    ///
    /// # Errors
    /// When another instance owns a partition of the run.
    pub(crate) fn is_over(&self) -> Result<bool> {
        let Some(partitions) = &self.partitions else { return Ok(false) };
        if partitions.is_empty() {
            return Ok(true);
        }
        let Some((partition, owner)) = &self.rival else { return Ok(false) };
        let text = format!(
            "until: a bounded run needs its partitions for itself, but {owner} owns one of them; stop the other \
             instances of the consumer group, whose leases expire if they have crashed, or read with a fixed assignment \
             or a partition_id"
        );
        Err(Error::invalid(text).on_partition(partition))
    }
}
