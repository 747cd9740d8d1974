use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The lease on an owned partition, as the reader of the partition sees it.
///
/// It ends by itself at the moment at which another instance may take the partition, whatever holds up the rounds of the
/// [`Balancer`](crate::Balancer): the reader needs nobody to tell it. A renewal moves that moment at once, also in the
/// middle of a round. Time is counted by the monotonic clock of the host, which goes on while the process is stopped.
#[derive(Debug, Clone)]
pub struct Lease {
    end: watch::Receiver<Instant>,
}

impl Lease {
    /// Whether the partition is still owned, right now.
    pub fn is_valid(&self) -> bool {
        let is_held = self.end.has_changed().is_ok();
        is_held && Instant::now() < *self.end.borrow()
    }

    /// Waits until the partition is not owned any more.
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn ended(&mut self) {
        loop {
            let end = *self.end.borrow_and_update();
            tokio::select! {
                biased;
                renewed = self.end.changed() => if renewed.is_err() { return },
                () = sleep_until(end) => return,
            }
        }
    }
}

/// The side of a lease that moves its end. When it is dropped, the lease ends.
#[derive(Debug)]
pub(crate) struct Fence {
    end: watch::Sender<Instant>,
}

impl Fence {
    pub(crate) fn new(end: Instant) -> Self {
        Self { end: watch::Sender::new(end) }
    }

    pub(crate) fn end(&self) -> Instant {
        *self.end.borrow()
    }

    pub(crate) fn move_to(&self, end: Instant) {
        self.end.send_replace(end);
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease { end: self.end.subscribe() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_by_itself_unless_it_is_renewed() {
        let start = Instant::now();
        let fence = Fence::new(start + 10 * SECOND);
        let mut lease = fence.lease();
        advance(9 * SECOND).await;
        fence.move_to(start + 20 * SECOND);
        advance(10 * SECOND).await;
        assert!(lease.is_valid());
        lease.ended().await;
        assert!(!lease.is_valid());
        assert!(start.elapsed() >= 20 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_given_up_ends_at_once() {
        let fence = Fence::new(Instant::now() + 10 * SECOND);
        let mut lease = fence.lease();
        drop(fence);
        assert!(!lease.is_valid());
        lease.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_over_for_one_who_could_not_be_woken_in_time() {
        let fence = Fence::new(Instant::now() + 10 * SECOND);
        let lease = fence.lease();
        advance(10 * SECOND).await;
        assert!(!lease.is_valid(), "nobody had to look before");
    }
}
