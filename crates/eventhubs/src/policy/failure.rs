//! What becomes of an event whose callback failed: the policy, the errors that say more than "failed", and the
//! decision, which is pure: attempts, age and a random number come as arguments. `pump/failing.rs` acts on it.

use std::error::Error as StdError;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_amqp::RetryPolicy;
use eventhubs_types::write_with_causes;

use crate::dead_letters::DeadLetterSink;
use crate::{Error, HandlerError};

/// How many events may go to the dead letters per minute, unless it is set.
const DEAD_LETTERS_PER_MINUTE: u32 = 100;

/// What becomes of an event whose callback returns an error, panics or exceeds its
/// [deadline](crate::Receive::deadline).
///
/// By default the callback is called with the same event again, forever, with exponential backoff from 0.8 to 30
/// seconds. The link stays open, and nothing that was handled since the checkpoint comes again. What comes after the
/// event waits: with [keyed concurrency](crate::Receive::keyed_by) only the events of the same key, otherwise those of
/// the partition. A panic restarts the partition at its checkpoint, since it may have left the state of the handler
/// broken.
///
/// A call of this crate that no event could make succeed, such as
/// [`update_checkpoint`](crate::PartitionContext::update_checkpoint) with concurrency, is a mistake of the program: when
/// the callback returns its error, the run stops with it, whatever the policy is.
///
/// [`attempts`](Self::attempts) and [`max_age`](Self::max_age) limit the retries, and [`then`](Self::then) says what
/// follows. No event is skipped unless it says [`GiveUp::Skip`].
///
/// ```
/// use std::time::Duration;
///
/// use eventhubs::{FailurePolicy, GiveUp, RetryPolicy};
///
/// let backoff = RetryPolicy::exponential(Duration::from_millis(100)).max_delay(Duration::from_secs(5));
/// let policy = FailurePolicy::retry(backoff).attempts(5).then(GiveUp::Skip);
/// ```
#[derive(Debug, Clone)]
pub struct FailurePolicy {
    backoff: RetryPolicy,
    attempts: Option<u32>,
    max_age: Option<Duration>,
    give_up: GiveUp,
    bisects: bool,
    dead_letters_per_minute: u32,
}

/// What follows when an event is not retried any more.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum GiveUp {
    /// The partition is closed with [`HandlerFailed`](crate::CloseReason::HandlerFailed) and, after a growing pause,
    /// read again from its checkpoint. The event comes again, and every further failure restarts the partition.
    #[default]
    Restart,
    /// The event is logged and counts as handled: a checkpoint may pass it.
    Skip,
    /// The run stops, and returns the error.
    Stop,
    /// The event goes to this sink. Once that has it, the event counts as handled. A sink that fails is retried;
    /// after ten failures the partition is restarted. The event is never skipped.
    DeadLetter(Arc<dyn DeadLetterSink>),
}

impl GiveUp {
    /// Returns [`GiveUp::DeadLetter`] with this sink.
    pub fn dead_letter(sink: impl DeadLetterSink) -> Self {
        Self::DeadLetter(Arc::new(sink))
    }
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self::retry(RetryPolicy::exponential(Duration::from_millis(800)).max_delay(Duration::from_secs(30)))
    }
}

impl FailurePolicy {
    /// Returns a policy that retries forever, with these pauses. The number of retries of the [`RetryPolicy`] has
    /// no effect here; see [`attempts`](Self::attempts).
    pub fn retry(backoff: RetryPolicy) -> Self {
        Self {
            backoff,
            attempts: None,
            max_age: None,
            give_up: GiveUp::default(),
            bisects: false,
            dead_letters_per_minute: DEAD_LETTERS_PER_MINUTE,
        }
    }

    /// Sets how often the callback is called with one event before it is given up. Default: no limit.
    ///
    /// Attempts are counted in memory: over restarts of the partition, but not over changes of its owner.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Sets how long after its first failure an event may still be retried. Default: no limit.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets what follows when an event is not retried any more. Default: [`GiveUp::Restart`].
    #[must_use]
    pub fn then(mut self, give_up: GiveUp) -> Self {
        self.give_up = give_up;
        self
    }

    /// Sets whether a batch that fails is halved, again and again, until the one event is found that fails. Default:
    /// `false`, and the batch is retried and given up as a whole.
    ///
    /// Only a batch callback needs it that cannot say which event failed; see [`BatchFailed`].
    #[must_use]
    pub fn bisect(mut self, bisect: bool) -> Self {
        self.bisects = bisect;
        self
    }

    /// Sets how many events of a run may go to the dead letters within a minute. Default: 100.
    ///
    /// Beyond that it is probably not the events that are at fault: the partition waits for 30 seconds, reports
    /// [`DeadLetterLimit`](crate::ErrorKind::DeadLetterLimit), and calls back with the same event again.
    #[must_use]
    pub fn dead_letter_limit(mut self, per_minute: u32) -> Self {
        self.dead_letters_per_minute = per_minute;
        self
    }

    pub(crate) fn give_up(&self) -> &GiveUp {
        &self.give_up
    }

    pub(crate) fn bisects(&self) -> bool {
        self.bisects
    }

    pub(crate) fn dead_letters_per_minute(&self) -> u32 {
        self.dead_letters_per_minute
    }

    /// The pauses between the attempts of a dead-letter sink.
    pub(crate) fn backoff(&self) -> &RetryPolicy {
        &self.backoff
    }

    /// The option that cannot be used as it is, if any.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        match self {
            Self { attempts: Some(0), .. } => Some("attempts"),
            Self { dead_letters_per_minute: 0, .. } => Some("dead_letter_limit"),
            _ => None,
        }
    }

    /// Decides about an event after a failure. `jitter` is a random number between 0 and 1.
    pub(crate) fn judge(&self, failures: Failures, cause: Cause, jitter: f64) -> Verdict {
        let is_spent = self.attempts.is_some_and(|most| failures.count >= most)
            || self.max_age.is_some_and(|age| failures.age >= age);
        match cause {
            Cause::Mistake => Verdict::Stop,
            Cause::Poison => Verdict::GiveUp,
            _ if is_spent => Verdict::GiveUp,
            Cause::Panic => Verdict::Restart,
            Cause::Error => Verdict::Retry(self.backoff.delay(failures.count.saturating_sub(1), jitter)),
        }
    }
}

/// The failures of one event so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failures {
    /// At least one.
    pub(crate) count: u32,
    /// Since the first of them.
    pub(crate) age: Duration,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Error,
    Panic,
    Poison,
    Mistake,
}

impl Cause {
    /// What the error says, or one of its sources.
    pub(crate) fn of(error: &HandlerError) -> Self {
        // First: to give the event up would skip it, or fill the dead letters, for what is no fault of the event.
        if find::<Error>(error).is_some_and(Error::is_mistake) {
            Self::Mistake
        } else if find::<Poison>(error).is_some() {
            Self::Poison
        } else if find::<Panicked>(error).is_some() {
            Self::Panic
        } else {
            Self::Error
        }
    }

    /// Whether one event of a batch may be at fault, and the others not.
    pub(crate) fn may_be_one_event(self) -> bool {
        matches!(self, Self::Error | Self::Poison)
    }
}

/// What to do about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Call again after this time.
    Retry(Duration),
    /// Read the partition again from its checkpoint.
    Restart,
    GiveUp,
    /// End the run.
    Stop,
}

/// An error of a callback that no retry helps against: the event is given up at once.
///
/// ```
/// use eventhubs::{HandlerResult, PartitionContext, Poison, ReceivedEvent};
///
/// async fn handle(_: PartitionContext, event: ReceivedEvent) -> HandlerResult {
///     let order = event.body_as_str().map_err(Poison::new)?;
///     println!("{order}");
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Poison(HandlerError);

impl Poison {
    /// Marks an error as one that comes again with each retry.
    pub fn new(error: impl Into<HandlerError>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_causes(f, "no retry can help", self.source())
    }
}

impl StdError for Poison {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// An error of a batch callback that says which event failed: the events before it are handled, and only those from
/// it on come again.
///
/// With [`Poison`] as its error only the one event is given up, and the rest of the batch follows.
///
/// ```
/// use eventhubs::{BatchFailed, HandlerResult, PartitionContext, ReceivedEvent};
///
/// async fn handle(_: PartitionContext, events: Vec<ReceivedEvent>) -> HandlerResult {
///     for (index, event) in events.iter().enumerate() {
///         let order = event.body_as_str().map_err(|error| BatchFailed::at(index, error))?;
///         println!("{order}");
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct BatchFailed {
    index: usize,
    error: HandlerError,
}

impl BatchFailed {
    /// Names the event that failed, counted from 0 in the batch of the call. An index beyond the batch counts as its
    /// last event.
    pub fn at(index: usize, error: impl Into<HandlerError>) -> Self {
        Self { index, error: error.into() }
    }

    /// The index that an error of a batch callback names.
    pub(crate) fn index_in(error: &HandlerError) -> Option<usize> {
        find::<Self>(error).map(|failed| failed.index)
    }
}

impl fmt::Display for BatchFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_causes(f, &format!("the event at index {} failed", self.index), self.source())
    }
}

impl StdError for BatchFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.error)
    }
}

/// The panic of a callback.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it panicked: {}", self.0)
    }
}

impl StdError for Panicked {}

/// The error itself, or the first of its sources, that has this type.
fn find<T: StdError + 'static>(error: &HandlerError) -> Option<&T> {
    let first: &(dyn StdError + 'static) = &**error;
    let mut errors = successors(Some(first), |error: &&(dyn StdError + 'static)| (*error).source());
    errors.find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failures(count: u32, seconds: u32) -> Failures {
        Failures { count, age: SECOND * seconds }
    }

    #[test]
    fn by_default_an_error_is_retried_for_ever_and_a_panic_restarts() {
        let policy = FailurePolicy::default();
        let judge = |count, cause| policy.judge(failures(count, 0), cause, 1.0);
        assert_eq!(judge(1, Cause::Error), Verdict::Retry(Duration::from_millis(800)));
        assert_eq!(judge(2, Cause::Error), Verdict::Retry(Duration::from_millis(1_600)));
        assert_eq!(judge(u32::MAX, Cause::Error), Verdict::Retry(SECOND * 30));
        assert_eq!(judge(u32::MAX, Cause::Panic), Verdict::Restart);
        assert_eq!(judge(1, Cause::Poison), Verdict::GiveUp);
        assert_eq!(judge(1, Cause::Mistake), Verdict::Stop);
        assert!(!policy.bisects() && policy.bisect(true).bisects());
    }

    #[test]
    fn the_pause_is_between_none_and_the_longest() {
        let judge = |jitter| FailurePolicy::default().judge(failures(1, 0), Cause::Error, jitter);
        assert_eq!(judge(0.0), Verdict::Retry(Duration::ZERO));
        assert_eq!(judge(0.5), Verdict::Retry(Duration::from_millis(400)));
    }

    /// Every combination of limits, counts and causes around the limits.
    #[test]
    fn an_event_is_given_up_at_the_first_limit_that_it_reaches() {
        let policy = FailurePolicy::retry(RetryPolicy::fixed(SECOND));
        for (attempts, max_age) in [(None, None), (Some(3), None), (None, Some(60)), (Some(3), Some(60))] {
            let policy = attempts.into_iter().fold(policy.clone(), FailurePolicy::attempts);
            let policy = max_age.into_iter().fold(policy, |policy, age| policy.max_age(SECOND * age));
            for count in 1..=4 {
                for age in [0, 59, 60, 61] {
                    let is_spent =
                        attempts.is_some_and(|most| count >= most) || max_age.is_some_and(|most| age >= most);
                    let judge = |cause| policy.judge(failures(count, age), cause, 0.3);
                    let otherwise = |verdict| if is_spent { Verdict::GiveUp } else { verdict };
                    assert_eq!(judge(Cause::Error), otherwise(Verdict::Retry(SECOND)));
                    assert_eq!(judge(Cause::Panic), otherwise(Verdict::Restart));
                    assert_eq!(judge(Cause::Poison), Verdict::GiveUp);
                    assert_eq!(judge(Cause::Mistake), Verdict::Stop);
                }
            }
        }
    }

    #[derive(Debug)]
    struct Wrapper(HandlerError);

    impl fmt::Display for Wrapper {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapped")
        }
    }

    impl StdError for Wrapper {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&*self.0)
        }
    }

    #[test]
    fn what_an_error_says_is_found_however_deep_it_is() {
        let wrapped = |error: HandlerError| HandlerError::from(Wrapper(error));
        assert_eq!(Cause::of(&"refused".into()), Cause::Error);
        assert_eq!(Cause::of(&wrapped(Panicked("at b".to_owned()).into())), Cause::Panic);
        let poisoned = wrapped(BatchFailed::at(7, Poison::new("not JSON")).into());
        assert_eq!((Cause::of(&poisoned), BatchFailed::index_in(&poisoned)), (Cause::Poison, Some(7)));
        assert_eq!(Cause::of(&Poison::new(Error::invalid("never").mistake()).into()), Cause::Mistake);
        assert_eq!(BatchFailed::index_in(&"refused".into()), None);
    }

    #[test]
    fn a_limit_of_zero_is_a_mistake() {
        assert_eq!(FailurePolicy::default().mistake(), None);
        assert_eq!(FailurePolicy::default().attempts(0).mistake(), Some("attempts"));
        assert_eq!(FailurePolicy::default().dead_letter_limit(0).mistake(), Some("dead_letter_limit"));
    }
}
