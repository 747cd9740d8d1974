//! Warns when something takes so long that an operator should know of it.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long code of the user may take before the first warning; each next one comes after twice the time.
pub(crate) const LONG_CALL: Duration = Duration::from_secs(30);

/// The same of an answer of the service or the store.
pub(crate) const LONG_ANSWER: Duration = Duration::from_secs(10);

/// The longest time between two warnings.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Runs `future`, and calls `warn` with the time it has taken: after `first`, twice that time, four times,
/// and so on.
///
/// Costs no timer where the future is ready at once.
pub(crate) async fn reminding<T>(
    first: Duration,
    future: impl Future<Output = T>,
    warn: impl Fn(Duration),
) -> T {
    tokio::pin!(future);
    let begun = Instant::now();
    let mut pause = first;
    loop {
        tokio::select! {
            biased;
            value = &mut future => return value,
            () = sleep(pause) => warn(begun.elapsed()),
        }
        pause = begun.elapsed().min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn warnings_come_less_and_less_often() {
        let warned = RefCell::new(Vec::new());
        reminding(LONG_CALL, sleep(Duration::from_secs(250)), |after| {
            warned.borrow_mut().push(after.as_secs());
        })
        .await;
        assert_eq!(warned.into_inner(), [30, 60, 120, 240]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_in_time_is_not_warned_of() {
        reminding(LONG_CALL, sleep(LONG_CALL / 2), |_| panic!("there was time left")).await;
    }
}
