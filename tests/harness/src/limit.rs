use std::fmt;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{interval, timeout};

/// The longest that a test over real sockets waits for one thing. No good run comes near.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
    async move {
        timeout(limit, future).await.unwrap_or_else(|_| panic!("{place}: still waiting after {limit:?}"))
    }
}

/// Waits until `condition` holds. `what` is printed if it never does, so it may show what was seen until
/// then.
///
/// # Panics
/// After [`PATIENCE`], with `what` and the place of the call.
///
/// # Cancel safety
/// Can be dropped at any time.
#[track_caller]
pub fn until(what: impl fmt::Display, condition: impl Fn() -> bool) -> impl Future<Output = ()> {
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
    #[should_panic(expected = "not within 60s: the door opens")]
    async fn a_condition_that_never_holds_panics_with_its_label() {
        until("the door opens", || false).await;
    }
}
