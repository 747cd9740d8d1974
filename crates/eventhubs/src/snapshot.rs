//! Puts the status of a client together from what its runs and pumps have noted. Pure, but for the entry at the top.

use std::time::{Duration, SystemTime};

use eventhubs_types::{PartitionId, SequenceNumber};
use tokio::time::Instant;

use crate::PartitionContext;
use crate::ambient::wall_clock;
use crate::board::{self, Entry, Notes, Stage};
use crate::gauges::{Counts, Newest, Phase, Reading};
use crate::instance::Instance;
use crate::status::{
    Lag, LastError, PartitionState, PartitionStatus, Rounds, RunState, Stall, Status, StoreState,
};

/// The status of a client now.
pub(crate) fn snapshot(instance: &Instance) -> Status {
    let board = &instance.board;
    board.note_read();
    let clock = Clock { now: Instant::now(), time: wall_clock() };
    let notes = board.notes().clone();
    // Copied first: a pump that ends must not wait for the rest.
    let entries = board.partitions().clone();
    Status {
        scope: instance.scope.clone(),
        owner_id: instance.owner.clone(),
        uptime: clock.since(board.built),
        run: run_state(&notes),
        rounds: notes.rounds.map(|rounds| rounds_status(&rounds, clock)),
        store: store_state(&notes.store, clock),
        partitions: entries
            .iter()
            .map(|(partition, entry)| partition_status(partition, entry, clock))
            .collect(),
    }
}

/// The time of a snapshot, by both clocks.
#[derive(Debug, Clone, Copy)]
struct Clock {
    now: Instant,
    time: SystemTime,
}

impl Clock {
    fn since(self, then: Instant) -> Duration {
        self.now.saturating_duration_since(then)
    }
}

fn run_state(notes: &Notes) -> RunState {
    // Of several runs, the one that is furthest from running.
    let is_any = |stage| notes.runs.values().any(|run| *run == stage);
    if notes.runs.is_empty() {
        RunState::NotRunning
    } else if is_any(Stage::Stopping) {
        RunState::Stopping
    } else if is_any(Stage::Starting) {
        RunState::Starting
    } else {
        RunState::Running
    }
}

fn rounds_status(rounds: &board::Rounds, clock: Clock) -> Rounds {
    let board::Rounds { count, last, duration, limit, hints } = *rounds;
    Rounds { count, since_last: clock.since(last), duration, limit, hints }
}

fn store_state(store: &board::Store, clock: Clock) -> StoreState {
    match store {
        board::Store::Unknown => StoreState::Unknown,
        board::Store::Answering => StoreState::Answering,
        board::Store::Failing { since, error } => {
            StoreState::Failing { since: clock.since(*since), error: error.clone() }
        }
    }
}

fn partition_status(partition: &PartitionId, entry: &Entry, clock: Clock) -> PartitionStatus {
    let Counts { delivered, done, failed } = entry.past;
    let mut status =
        PartitionStatus { delivered, done, failed, ..PartitionStatus::released(partition.clone()) };
    for context in &entry.contexts {
        read(&mut status, context, clock);
    }
    status
}

/// Adds what the pump of this context is at.
fn read(status: &mut PartitionStatus, context: &PartitionContext, clock: Clock) {
    let reading = context.gauges().read();
    let Counts { delivered, done, failed } = reading.counts;
    status.delivered += delivered;
    status.done += done;
    status.failed += failed;
    status.in_flight += reading.in_flight;
    status.state = state(&reading, context.is_paused(), clock.now);
    status.owned_for = Some(clock.since(reading.created));
    status.position = reading.position;
    status.position_enqueued = reading.enqueued;
    status.checkpoint = context.checkpointer().recorded();
    status.checkpoint_age = context.checkpointer().recorded_at().map(|at| clock.since(at));
    status.is_checkpoint_pending = context.checkpointer().is_pending();
    // What was done here, or before, by whoever wrote the checkpoint.
    let reached = reading.position.max(status.checkpoint);
    status.lag = reading.notes.newest.and_then(|newest| lag(reached, reading.enqueued, newest, clock));
    status.held_by = context.held_by();
    status.last_error = reading.notes.error.map(|error| LastError {
        kind: error.kind,
        text: error.text,
        age: clock.since(error.at),
    });
}

/// What a partition is at, of all that is true of it the most telling.
fn state(reading: &Reading, is_paused: bool, now: Instant) -> PartitionState {
    let since = |then| now.saturating_duration_since(then);
    let call = reading.call.map(|(begun, number)| (since(begun), number));
    if let Some((stall, begun)) = reading.notes.stall {
        return PartitionState::Stalled { since: since(begun), stall };
    }
    if let Some((running, sequence_number)) = call.filter(|(running, _)| *running >= reading.stall_after) {
        let since = running.saturating_sub(reading.stall_after);
        return PartitionState::Stalled { since, stall: Stall::Call { sequence_number } };
    }
    match reading.notes.phase {
        Phase::Closing => PartitionState::Closing,
        Phase::Opening => PartitionState::Opening,
        Phase::BackingOff { until } if until > now => {
            PartitionState::BackingOff { rest: until.saturating_duration_since(now) }
        }
        _ if is_paused => PartitionState::Paused,
        _ => match call {
            Some((since, _)) => PartitionState::Handling { since },
            None if reading.is_waiting && reading.in_flight == 0 => PartitionState::Idle,
            None => PartitionState::Reading,
        },
    }
}

/// How far `reached` is from the newest event; `None` where what the service said is older than what was done since.
fn lag(
    reached: Option<SequenceNumber>,
    enqueued: Option<SystemTime>,
    newest: Newest,
    clock: Clock,
) -> Option<Lag> {
    let age = clock.since(newest.said);
    let events = u64::try_from(newest.number.value().checked_sub(reached?.value())?).ok()?;
    let time = match events {
        0 => Some(Duration::ZERO),
        // By the clock of the service, which may be ahead of the one here.
        _ => enqueued.map(|enqueued| clock.time.duration_since(enqueued).unwrap_or_default()),
    };
    Some(Lag { events, time, age })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauges::Notes;

    fn reading(now: Instant) -> Reading {
        Reading {
            counts: Counts::default(),
            in_flight: 0,
            position: None,
            enqueued: None,
            is_waiting: true,
            notes: Notes { phase: Phase::Reading, ..Notes::default() },
            call: None,
            stall_after: Duration::from_secs(300),
            created: now,
        }
    }

    fn begun(seconds: u64, now: Instant) -> Option<(Instant, Option<SequenceNumber>)> {
        now.checked_sub(Duration::from_secs(seconds)).map(|begun| (begun, Some(7.into())))
    }

    #[tokio::test(start_paused = true)]
    async fn the_state_is_the_most_telling_thing() {
        tokio::time::advance(Duration::from_secs(1000)).await;
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let notes = |phase| Notes { phase, ..Notes::default() };
        let until = now + seconds(3);
        let call = |seconds| begun(seconds, now);
        for (reading, expected) in [
            (reading(now), PartitionState::Idle),
            (Reading { in_flight: 1, ..reading(now) }, PartitionState::Reading),
            (Reading { is_waiting: false, ..reading(now) }, PartitionState::Reading),
            (Reading { call: call(9), ..reading(now) }, PartitionState::Handling { since: seconds(9) }),
            (Reading { notes: notes(Phase::Opening), ..reading(now) }, PartitionState::Opening),
            (
                Reading { notes: notes(Phase::Closing), call: call(9), ..reading(now) },
                PartitionState::Closing,
            ),
            (
                Reading { notes: notes(Phase::BackingOff { until }), ..reading(now) },
                PartitionState::BackingOff { rest: seconds(3) },
            ),
            (
                Reading { notes: notes(Phase::BackingOff { until: now }), ..reading(now) },
                PartitionState::Idle,
            ),
            (
                Reading { notes: notes(Phase::Closing), call: call(310), ..reading(now) },
                PartitionState::Stalled {
                    since: seconds(10),
                    stall: Stall::Call { sequence_number: Some(7.into()) },
                },
            ),
        ] {
            assert_eq!(state(&reading, false, now), expected, "{reading:?}");
        }
        assert_eq!(state(&reading(now), true, now), PartitionState::Paused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lag_that_is_not_known_is_absent_and_never_zero() {
        let (said, time) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        tokio::time::advance(Duration::from_secs(5)).await;
        let clock = Clock { now: Instant::now(), time };
        let newest = Newest { number: 9.into(), said };
        let enqueued = Some(time - Duration::from_secs(60));
        let lag = |reached: Option<i64>, enqueued| lag(reached.map(Into::into), enqueued, newest, clock);
        let age = Duration::from_secs(5);
        assert_eq!(lag(None, None), None);
        assert_eq!(lag(Some(10), enqueued), None, "more has come since the service was asked");
        assert_eq!(lag(Some(9), enqueued), Some(Lag { events: 0, time: Some(Duration::ZERO), age }));
        let behind = Lag { events: 4, time: Some(Duration::from_secs(60)), age };
        assert_eq!(lag(Some(5), enqueued), Some(behind));
        assert_eq!(lag(Some(5), None), Some(Lag { time: None, ..behind }));
        let ahead = Some(time + Duration::from_secs(1));
        assert_eq!(lag(Some(5), ahead), Some(Lag { time: Some(Duration::ZERO), ..behind }));
    }
}
