//! A stream with a limited number of bytes per second.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How many times a second bytes go out, if there are that many.
const PORTIONS: u32 = 20;

/// The pause after the last portion.
#[derive(Debug, Default)]
pub(crate) struct Pace(Option<Pin<Box<Sleep>>>);

impl Pace {
    /// How many bytes may go out now, at this rate; at 0 there is no limit.
    pub(crate) fn poll_portion(&mut self, rate: u32, cx: &mut Context<'_>) -> Poll<usize> {
        if rate == 0 {
            return Poll::Ready(usize::MAX);
        }
        if let Some(pause) = &mut self.0 {
            ready!(pause.as_mut().poll(cx));
            self.0 = None;
        }
        // At least one byte, or a rate below the number of portions would never send anything.
        Poll::Ready((rate / PORTIONS).max(1) as usize)
    }

    /// So many bytes went out.
    pub(crate) fn spent(&mut self, bytes: usize, rate: u32) {
        if rate > 0 {
            // In proportion to what the socket took, which may be less than the portion.
            let pause = Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / rate;
            self.0 = Some(Box::pin(sleep(pause)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    async fn seconds_for(bytes: usize, rate: u32) -> f64 {
        let mut pace = Pace::default();
        let started = Instant::now();
        let mut left = bytes;
        while left > 0 {
            let portion = poll_fn(|cx| pace.poll_portion(rate, cx)).await.min(left);
            pace.spent(portion, rate);
            left -= portion;
        }
        started.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time() {
        for (bytes, rate, expected) in [(10, 1, 9.0), (1000, 100, 9.95), (1000, 0, 0.0)] {
            let seconds = seconds_for(bytes, rate).await;
            assert!((seconds - expected).abs() < 0.2, "{bytes} bytes at {rate}/s: {seconds} s");
        }
    }
}
