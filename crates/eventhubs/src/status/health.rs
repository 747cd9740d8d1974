//! Whether a restart would help, and whether the instance does its work: decided by progress, never by whether something
//! else answers. A store or an event hub that is down must not make an orchestrator restart the whole fleet.

use std::time::Duration;

use crate::status::{PartitionState, PartitionStatus, RunState, Status};

impl Status {
    /// How long something may make no progress before [`is_alive`](Self::is_alive) is `false`: 2 minutes, beyond what counts
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::status::{LastError, Rounds, Stall, StoreState};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn status(run: RunState, state: PartitionState) -> Status {
        let partition = PartitionStatus::released("3".parse().unwrap());
        let scope = "$Default".parse().unwrap();
        Status {
            scope: eventhubs_types::ConsumerScope::new("ns".parse().unwrap(), "hub".parse().unwrap(), scope),
            owner_id: "pod-1".parse().unwrap(),
            uptime: seconds(600),
            run,
            rounds: Some(Rounds {
                count: 9,
                since_last: seconds(45),
                duration: None,
                limit: seconds(45),
                hints: 0,
            }),
            store: StoreState::Failing { since: seconds(600), error: "away".to_owned() },
            partitions: vec![PartitionStatus { state, ..partition }],
        }
    }

    fn stalled(since: Duration) -> PartitionState {
        PartitionState::Stalled { since, stall: Stall::Call { sequence_number: None } }
    }

    #[test]
    fn only_what_a_restart_helps_against_is_not_alive() {
        for state in [
            PartitionState::Opening,
            PartitionState::Paused,
            PartitionState::Closing,
            PartitionState::Handling { since: seconds(10_000) },
            PartitionState::BackingOff { rest: seconds(10_000) },
            stalled(Status::ALIVE_GRACE),
        ] {
            assert!(status(RunState::Running, state.clone()).is_alive(), "{state:?}");
        }
        let beyond = Status::ALIVE_GRACE + seconds(1);
        assert!(!status(RunState::Running, stalled(beyond)).is_alive());
        assert!(!status(RunState::Stopping, stalled(beyond)).is_alive());
        assert!(status(RunState::Running, stalled(beyond)).is_alive_within(beyond));
        assert!(status(RunState::Starting, stalled(beyond)).is_alive(), "waits for what does not answer");
        assert!(status(RunState::NotRunning, stalled(beyond)).is_alive());
    }

    #[test]
    fn rounds_that_do_not_end_are_not_alive() {
        let mut status = status(RunState::Running, PartitionState::Idle);
        let rounds = status.rounds.as_mut().unwrap();
        rounds.since_last = rounds.limit + Status::ALIVE_GRACE;
        assert!(status.is_alive());
        status.rounds.as_mut().unwrap().since_last += seconds(1);
        assert!(!status.is_alive());
    }

    #[test]
    fn an_instance_is_ready_when_all_is_read_or_fails_for_a_known_reason() {
        assert!(status(RunState::Running, PartitionState::Idle).is_ready());
        for run in [RunState::NotRunning, RunState::Starting, RunState::Stopping] {
            assert!(!status(run, PartitionState::Idle).is_ready(), "{run:?}");
        }
        assert!(!status(RunState::Running, stalled(Duration::ZERO)).is_ready());
        let mut opening = status(RunState::Running, PartitionState::Opening);
        assert!(!opening.is_ready());
        let error = LastError { kind: ErrorKind::Busy, text: "busy".to_owned(), age: seconds(1) };
        opening.partitions[0].last_error = Some(error);
        assert!(opening.is_ready());
    }
}
