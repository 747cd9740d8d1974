//! Limits of time: a test that hangs ends, and says what it waited for, where, and what it saw.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{interval, timeout};

/// The longest that a test over real sockets waits for one thing: 120 seconds. No good run comes near, not
/// even in many copies at once on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What `future` returns; a test that hangs ends here, instead of holding all the others.
///
/// # Panics
/// After `limit`, with the place of the call.
///
/// # Cancel safety
/// As cancel safe as `future`.
#[track_caller]
pub fn within<F: Future>(limit: Duration, future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    // Boxed before it is moved: the futures of an AMQP client are larger than a stack frame should be.
    let limited = timeout(limit, Box::pin(future));
    async move { limited.await.unwrap_or_else(|_| panic!("{place}: still waiting after {limit:?}")) }
}

/// Waits until `condition` holds. `what` is printed if it never does; see [`seeing`].
///
/// # Panics
/// After [`PATIENCE`], with `what` and the place of the call.
///
/// # Cancel safety
/// Can be dropped at any time.
#[track_caller]
pub fn until(what: impl fmt::Display, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = Location::caller();
    async move {
        let holds = async {
            let mut looks = interval(LOOK);
            while !condition() {
                looks.tick().await;
            }
        };
        let is_late = timeout(PATIENCE, holds).await.is_err();
        assert!(!is_late, "{place}: not within {PATIENCE:?}: {what}");
    }
}

/// As [`until`], for a condition that has to ask somebody.
///
/// # Panics
/// After [`PATIENCE`], with `what` and the place of the call.
///
/// # Cancel safety
/// As cancel safe as `condition`.
#[track_caller]
pub fn until_async(what: impl fmt::Display, condition: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let place = Location::caller();
    async move {
        let holds = async {
            let mut looks = interval(LOOK);
            while !condition().await {
                looks.tick().await;
            }
        };
        let is_late = timeout(PATIENCE, Box::pin(holds)).await.is_err();
        assert!(!is_late, "{place}: not within {PATIENCE:?}: {what}");
    }
}

/// A label for [`until`] that also shows what there was in the end: `seen` is called only if the wait fails.
pub fn seeing<S: fmt::Debug>(what: impl fmt::Display, seen: impl Fn() -> S) -> impl fmt::Display {
    Seeing { what, seen }
}

struct Seeing<W, F> {
    what: W,
    seen: F,
}

impl<W: fmt::Display, F: Fn() -> S, S: fmt::Debug> fmt::Display for Seeing<W, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, but there is {:?}", self.what, (self.seen)())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "still waiting after 5s")]
    async fn a_wait_without_end_panics_with_its_place() {
        within(Duration::from_secs(5), pending::<()>()).await;
    }

    #[tokio::test]
    async fn what_ends_in_time_returns_its_value() {
        assert_eq!(within(Duration::from_secs(5), async { 7 }).await, 7);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "not within 120s: the door opens")]
    async fn a_condition_that_never_holds_panics_with_its_label() {
        until("the door opens", || false).await;
    }
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "not within 120s: two doors, but there is [\"front\"]")]
    async fn a_wait_that_fails_shows_what_was_seen() {
        let doors = ["front"];
        until_async(seeing("two doors", || doors), async || doors.len() == 2).await;
    }
}
