//! A lease that ends by itself: the side that reads it, and the side that moves its end.

use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The lease on an owned partition, as the reader of the partition sees it.
///
/// It ends by itself at the moment at which another instance may take the partition, whatever holds up the
/// rounds of the [`Balancer`](crate::Balancer): the reader needs nobody to tell it. A renewal moves that
/// moment at once, also in the middle of a round. Time is counted by the monotonic clock of the host, which
/// runs on while the process is stopped.
///
/// That clock stops while a virtual machine or a laptop is suspended. So a lease is over too when the wall
/// clock says that its time has passed. A wall clock can only shorten a lease; one that is set forth by more
/// than the rest of it ends it, which costs what any lost lease costs, and one that is set back changes
/// nothing.
///
/// A partition that was taken from an owner that hands over is not [settled](Self::is_settled) yet: its new
/// reader attaches, which cuts off the one before, and waits with its first callback until that has written
/// its checkpoint.
#[derive(Debug, Clone)]
pub struct Lease {
    term: watch::Receiver<Term>,
}

#[derive(Debug, Clone, Copy)]
struct Term {
    end: Instant,
    /// The same by the wall clock, as of the last renewal.
    wall_end: Option<SystemTime>,
    /// Until when the owner before may take its time; `None` once it has handed over.
    waits_until: Option<Instant>,
}

impl Term {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end || self.wall_end.is_some_and(|end| wall_clock() >= end)
    }

    fn waits_until(&self) -> Option<Instant> {
        self.waits_until.filter(|until| Instant::now() < *until)
    }
}

impl Lease {
    /// Whether the partition is still owned, right now.
    pub fn is_valid(&self) -> bool {
        let is_held = self.term.has_changed().is_ok();
        is_held && !self.term.borrow().is_over()
    }

    /// As [`is_valid`](Self::is_valid), without a look at the wall clock: a host that was suspended since the last look
    /// at it is not noticed. Half as expensive.
    pub fn is_valid_unless_suspended(&self) -> bool {
        self.term.has_changed().is_ok() && Instant::now() < self.term.borrow().end
    }

    /// Waits until the partition is not owned any more.
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn ended(&mut self) {
        loop {
            let end = self.term.borrow_and_update().end;
            tokio::select! {
                biased;
                renewed = self.term.changed() => if renewed.is_err() { return },
                () = sleep_until(end) => return,
            }
        }
    }

    /// Whether no owner before may still be at work on the partition: it has handed over, or has had its
    /// time.
    pub fn is_settled(&self) -> bool {
        self.term.borrow().waits_until().is_none()
    }

    /// Waits until the owner before has handed over, or may not do so any more, or the partition is not owned
    /// any more.
    ///
    /// Sets no limit: the reader counts its own from the attach that cuts the other one off, which may come
    /// late.
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn handed_over(&mut self) {
        // An error means that the lease is gone.
        let _ = self.term.wait_for(|term| term.waits_until.is_none()).await;
    }
}

/// What the wall clock will show at this moment, if nothing suspends the host until then.
fn wall(end: Instant) -> Option<SystemTime> {
    wall_clock().checked_add(end.saturating_duration_since(Instant::now()))
}

#[cfg(not(test))]
#[expect(
    clippy::disallowed_methods,
    reason = "it is the only clock that runs on while the host is suspended"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
use tests::wall_clock;

/// The side of a lease that moves its end. When it is dropped, the lease ends.
#[derive(Debug)]
pub(crate) struct Fence {
    term: watch::Sender<Term>,
}

impl Fence {
    pub(crate) fn new(end: Instant) -> Self {
        Self { term: watch::Sender::new(Term { end, wall_end: wall(end), waits_until: None }) }
    }

    pub(crate) fn end(&self) -> Instant {
        self.term.borrow().end
    }

    pub(crate) fn move_to(&self, end: Instant) {
        self.term.send_modify(|term| {
            term.end = end;
            term.wall_end = wall(end);
        });
    }

    /// Until when the owner before may take its time to hand over; that time may have passed.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        self.term.borrow().waits_until
    }

    pub(crate) fn wait_until(&self, until: Option<Instant>) {
        self.term.send_modify(|term| term.waits_until = until);
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease { term: self.term.subscribe() }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    thread_local! {
        static WALL_CLOCK: Cell<SystemTime> = const { Cell::new(SystemTime::UNIX_EPOCH) };
    }

    /// Moves only when a test says so.
    pub(super) fn wall_clock() -> SystemTime {
        WALL_CLOCK.get()
    }

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

    #[tokio::test(start_paused = true)]
    async fn a_host_that_slept_beyond_the_lease_does_not_own_the_partition() {
        let fence = Fence::new(Instant::now() + 10 * SECOND);
        let lease = fence.lease();
        WALL_CLOCK.set(wall_clock() + 9 * SECOND);
        assert!(lease.is_valid());
        WALL_CLOCK.set(wall_clock() + SECOND);
        assert!(!lease.is_valid(), "the monotonic clock stood still");
        fence.move_to(Instant::now() + 10 * SECOND);
        assert!(lease.is_valid(), "it was renewed after that");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_back_lengthens_no_lease() {
        WALL_CLOCK.set(SystemTime::UNIX_EPOCH + 3600 * SECOND);
        let fence = Fence::new(Instant::now() + 10 * SECOND);
        WALL_CLOCK.set(SystemTime::UNIX_EPOCH);
        advance(10 * SECOND).await;
        assert!(!fence.lease().is_valid());
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_settles_when_handed_over_or_after_the_time_limit() {
        let start = Instant::now();
        let fence = Fence::new(start + 60 * SECOND);
        let mut lease = fence.lease();
        assert!(lease.is_settled());
        fence.wait_until(Some(start + 10 * SECOND));
        assert!(!lease.is_settled());
        advance(10 * SECOND).await;
        assert!(lease.is_settled());

        fence.wait_until(Some(start + 30 * SECOND));
        let ((), ()) = tokio::join!(lease.handed_over(), async {
            advance(SECOND).await;
            fence.wait_until(None);
        });
        assert!(lease.is_settled());
        fence.wait_until(Some(start + 40 * SECOND));
        drop(fence);
        lease.handed_over().await;
    }
}
