//! Whether a restart would help, and whether the instance does its work: decided by progress, never by whether something
//! else answers. A store or an event hub that is down must not make an orchestrator restart the whole fleet.

use std::time::Duration;

use crate::status::{PartitionState, PartitionStatus, RunState, Status};

impl Status {
    /// How long something may stand still before [`is_alive`](Self::is_alive) is `false`: 2 minutes, beyond what counts
    /// as a [stall](PartitionState::Stalled).
    pub const ALIVE_GRACE: Duration = Duration::from_secs(120);

    /// Returns whether the process makes progress: for a liveness probe.
    ///
    /// It is `false` only where a restart can help: when no load-balancing round has ended for [`ALIVE_GRACE`](Self::ALIVE_GRACE)
    /// and the longest time between two rounds, or when a partition has been [stalled](PartitionState::Stalled) for
    /// [`ALIVE_GRACE`](Self::ALIVE_GRACE). A store or an event hub that is down, a callback that fails, a pause and a
    /// hand-over leave it `true`, and so does a run that has not begun or has ended.
    pub fn is_alive(&self) -> bool {
        self.is_alive_within(Self::ALIVE_GRACE)
    }

    /// As [`is_alive`](Self::is_alive), with another time.
    pub fn is_alive_within(&self, grace: Duration) -> bool {
        let is_running = matches!(self.run, RunState::Running | RunState::Stopping);
        let is_balancing =
            self.rounds.is_none_or(|rounds| rounds.since_last <= rounds.limit.saturating_add(grace));
        let is_reading = self.partitions.iter().all(|partition| match partition.state {
            PartitionState::Stalled { since, .. } => since <= grace,
            _ => true,
        });
        !is_running || (is_balancing && is_reading)
    }

    /// Returns whether the instance does its work: for a readiness probe, which a rolling deploy waits for.
    ///
    /// It is `true` once the first load-balancing round has ended and every partition of this instance is read, or is
    /// tried again after an error that is known. It is `false` again from the moment that the run is told to stop.
    pub fn is_ready(&self) -> bool {
        self.run == RunState::Running && self.partitions.iter().all(PartitionStatus::is_ready)
    }
}

impl PartitionStatus {
    fn is_ready(&self) -> bool {
        match self.state {
            PartitionState::Opening => self.last_error.is_some(),
            PartitionState::Stalled { .. } => false,
            _ => true,
        }
    }
}
