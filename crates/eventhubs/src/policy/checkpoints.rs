//! When a checkpoint is written by itself: the policy, and the decision, which is pure. `checkpoint_writer.rs` acts on
//! it.

use std::time::Duration;

/// When checkpoints are written without a call of
/// [`update_checkpoint`](crate::PartitionContext::update_checkpoint).
///
/// What is written is the newest event that is handled, as are all events before it; never one whose callback has not
/// returned `Ok`. Several are joined into one write, a callback does not wait for it, and nothing is written where
/// nothing was handled. While the store cannot be reached, the newest one stays pending. When the partition is closed
/// and still owned, the last one is written before the link is detached and the partition released, so that a clean
/// stop and a hand-over repeat no event.
///
/// The interval decides what the store is asked for: with 32 partitions, an interval of 10 seconds is up to 8.3 million
/// writes a month, one of 60 seconds 1.4 million. What was handled since the last write comes again after a crash.
///
/// ```
/// use std::time::Duration;
///
/// use eventhubs::CheckpointPolicy;
///
/// let policy = CheckpointPolicy::every(Duration::from_secs(30)).or_events(5_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// At most one write in this time, unless `events` have come; `None` for none before the partition is closed.
    every: Option<Duration>,
    events: Option<u32>,
}

impl CheckpointPolicy {
    /// Returns a policy that writes at most once in this time, give or take a tenth so that partitions do not write all
    /// at once.
    pub fn every(interval: Duration) -> Self {
        Self { every: Some(interval), events: None }
    }

    /// Also writes as soon as this many events are handled since the last write. Default: no such limit.
    #[must_use]
    pub fn or_events(mut self, events: u32) -> Self {
        self.events = Some(events);
        self
    }

    /// Returns a policy that writes after each batch; with one event a call, after all events that had arrived
    /// together. While one write is under way, those of further batches are joined.
    pub fn each_batch() -> Self {
        Self { every: Some(Duration::ZERO), events: None }
    }

    /// Returns a policy that writes only when a partition is closed. After a crash, all that was handled since the
    /// partition was opened comes again.
    pub fn on_close_only() -> Self {
        Self { every: None, events: None }
    }

    /// The option that cannot be used as it is, if any.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        (self.events == Some(0)).then_some("or_events")
    }

    /// How long to wait until the next write; `None` if it is not due before something more is handled. `jitter` is a
    /// random number between 0 and 1.
    pub(crate) fn wait(&self, unwritten: Unwritten, jitter: f64) -> Option<Duration> {
        if unwritten.events == 0 {
            return None;
        }
        if self.events.is_some_and(|most| unwritten.events >= most) {
            return Some(Duration::ZERO);
        }
        let interval = self.every?.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0));
        Some(interval.saturating_sub(unwritten.since_last_write))
    }

    /// Whether the writer has something new to decide when the number of unwritten events grows.
    pub(crate) fn is_news(&self, before: u32, now: u32) -> bool {
        before == 0 || self.events.is_some_and(|most| (before + 1..=now).contains(&most))
    }
}

/// What is handled and not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unwritten {
    pub(crate) events: u32,
    pub(crate) since_last_write: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn unwritten(events: u32, seconds: u32) -> Unwritten {
        Unwritten { events, since_last_write: SECOND * seconds }
    }

    #[test]
    fn nothing_is_written_where_nothing_was_handled() {
        for policy in [
            CheckpointPolicy::every(SECOND).or_events(1),
            CheckpointPolicy::each_batch(),
            CheckpointPolicy::on_close_only(),
        ] {
            assert_eq!(policy.wait(unwritten(0, 100), 0.5), None);
        }
    }

    #[test]
    fn a_write_is_due_an_interval_after_the_last_one() {
        let policy = CheckpointPolicy::every(SECOND * 10);
        assert_eq!(policy.wait(unwritten(1, 0), 0.5), Some(SECOND * 10));
        assert_eq!(policy.wait(unwritten(9_999, 4), 0.5), Some(SECOND * 6));
        assert_eq!(policy.wait(unwritten(1, 11), 0.5), Some(Duration::ZERO));
        assert_eq!(policy.wait(unwritten(1, 0), 0.0), Some(SECOND * 9));
        assert_eq!(policy.wait(unwritten(1, 0), 1.0), Some(SECOND * 11));
        assert_eq!(policy.wait(unwritten(1, 0), -5.0), Some(SECOND * 9), "a tenth at most");
        assert_eq!(policy.wait(unwritten(1, 0), 5.0), Some(SECOND * 11), "a tenth at most");
    }

    #[test]
    fn a_write_is_due_at_once_when_enough_events_are_handled() {
        let policy = CheckpointPolicy::every(SECOND * 10).or_events(100);
        assert_eq!(policy.wait(unwritten(99, 0), 0.5), Some(SECOND * 10));
        assert_eq!(policy.wait(unwritten(100, 0), 0.5), Some(Duration::ZERO));
    }

    /// The writer sleeps until it is woken: one that is not would write an interval too late.
    #[test]
    fn the_writer_is_woken_by_the_first_event_and_by_the_last_of_enough() {
        let policy = CheckpointPolicy::every(SECOND * 10).or_events(4);
        for before in 0..8 {
            for now in before..8 {
                let is_news = before == 0 || before < 4 && now >= 4;
                assert_eq!(policy.is_news(before, now), is_news, "from {before} to {now}");
            }
        }
        assert!(!CheckpointPolicy::every(SECOND).is_news(1, 9));
    }

    #[test]
    fn each_batch_is_written_and_before_the_close_nothing_by_the_other_policy() {
        assert_eq!(CheckpointPolicy::each_batch().wait(unwritten(1, 0), 1.0), Some(Duration::ZERO));
        assert_eq!(CheckpointPolicy::on_close_only().wait(unwritten(u32::MAX, 9), 0.0), None);
        assert_eq!(
            CheckpointPolicy::on_close_only().or_events(5).wait(unwritten(5, 0), 0.0),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn a_limit_of_zero_events_is_a_mistake() {
        assert_eq!(CheckpointPolicy::every(SECOND).or_events(0).mistake(), Some("or_events"));
        assert_eq!(CheckpointPolicy::each_batch().mistake(), None);
    }
}
