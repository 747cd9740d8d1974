//! How fast events go out.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How many events go to the producer at once without a rate; it packs them into as few messages as they fit in.
const UNPACED: u16 = 1000;
/// How often a fast pace lets events through; a slower one waits for each event.
const TICK: Duration = Duration::from_millis(10);

/// Lets this many events through per second, evenly; all at once without a rate. Time comes from tokio's clock.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: Option<f64>,
    start: Option<Instant>,
    /// How many seconds after the start the next event is due.
    due: f64,
}

impl Pace {
    pub(super) fn new(per_second: Option<f64>) -> Self {
        Self { per_second, start: None, due: 0.0 }
    }

    /// How many events go through at once, at most.
    pub(super) fn at_once(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between 1 and 1000"
        )]
        let count = |rate: f64| (rate * TICK.as_secs_f64()).clamp(1.0, f64::from(UNPACED)) as usize;
        self.per_second.map_or(UNPACED.into(), count)
    }

    /// Waits until this many events are due.
    pub(super) async fn wait(&mut self, count: usize) {
        let Some(per_second) = self.per_second else { return };
        // At the first event: connecting takes time that is not part of the pace.
        let start = *self.start.get_or_insert_with(Instant::now);
        sleep_until(start + Duration::from_secs_f64(self.due)).await;
        // From the start and not from now, so that a late wake-up is made up for and the rate holds on
        // average.
        self.due += f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / per_second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds_for(per_second: f64, events: usize) -> f64 {
        let start = Instant::now();
        let mut pace = Pace::new(Some(per_second));
        let mut left = events;
        while left > 0 {
            let count = left.min(pace.at_once());
            pace.wait(count).await;
            left -= count;
        }
        start.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_whether_slow_or_fast() {
        for (per_second, events, seconds) in
            [(0.5, 3, 4.0), (10.0, 31, 3.0), (1000.0, 5010, 5.0), (90_000.0, 270_900, 3.0)]
        {
            let took = seconds_for(per_second, events).await;
            assert!((took - seconds).abs() < 0.02, "{per_second}: {took}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(None);
        for _ in 0..100 {
            pace.wait(pace.at_once()).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
