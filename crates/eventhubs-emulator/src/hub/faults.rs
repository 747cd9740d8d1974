//! What an event hub is told to do wrong: a bad day that tests ask for.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::condition::{Condition, SERVER_BUSY};
use crate::sync::lock;

const BUSY_TEXT: &str = "The request was terminated because the entity is being throttled. Error code : 50002. \
                         Please wait 4 seconds and try again.";

/// The faults of one event hub. None by default.
#[derive(Debug, Default)]
pub(crate) struct HubFaults {
    attaches: Refusals,
    sends: Refusals,
    busy: Mutex<Option<Busy>>,
    paused: watch::Sender<bool>,
    delay: watch::Sender<Duration>,
}

/// For how long an event hub says that it is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Throttle {
    /// To the next so many attaches, messages and reads of properties; 0 ends that.
    Next(usize),
    /// For so long.
    For(Duration),
}

#[derive(Debug, Clone, Copy)]
enum Busy {
    Next(usize),
    Until(Instant),
}

/// How many requests to refuse still, and how.
#[derive(Debug, Default)]
struct Refusals(Mutex<Option<(usize, Condition)>>);

impl HubFaults {
    pub(crate) fn refuse_attaches(&self, count: usize, reason: Condition) {
        self.attaches.set(count, reason);
    }

    pub(crate) fn refuse_sends(&self, count: usize, reason: Condition) {
        self.sends.set(count, reason);
    }

    pub(crate) fn pause_deliveries(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    pub(crate) fn delay_deliveries(&self, by: Duration) {
        self.delay.send_replace(by);
    }

    pub(crate) fn throttle(&self, throttle: Throttle) {
        *lock(&self.busy) = match throttle {
            Throttle::Next(count) => Some(Busy::Next(count)),
            Throttle::For(time) => Some(Busy::Until(Instant::now() + time)),
        };
    }

    /// Whether a link may attach. Counts.
    ///
    /// # Errors
    /// When it is one of those to refuse.
    pub(crate) fn attach(&self) -> Result<(), Condition> {
        // First, and it counts alone: a throttled request must not use up a refusal that is meant for one
        // that gets further.
        self.busy()?;
        self.attaches.next()
    }

    /// Whether a message may be kept. Counts.
    ///
    /// # Errors
    /// When it is one of those to refuse.
    pub(crate) fn send(&self) -> Result<(), Condition> {
        self.busy()?;
        self.sends.next()
    }

    /// Whether a request of any kind may be served. Counts.
    ///
    /// # Errors
    /// While the hub is throttled: what the service says then.
    pub(crate) fn busy(&self) -> Result<(), Condition> {
        let mut busy = lock(&self.busy);
        *busy = match *busy {
            Some(Busy::Next(left @ 1..)) => Some(Busy::Next(left - 1)),
            Some(Busy::Until(end)) if Instant::now() < end => Some(Busy::Until(end)),
            _ => {
                *busy = None;
                return Ok(());
            }
        };
        Err(Condition::new(SERVER_BUSY, BUSY_TEXT))
    }

    /// Returns as soon as the next event may go out.
    pub(crate) async fn may_deliver(&self, begins_batch: bool) {
        if begins_batch {
            self.delayed().await;
        }
        // the sender lives in self, so the wait cannot fail
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }
}

impl HubFaults {
    /// Waits for as long as deliveries are late; a change restarts the wait.
    async fn delayed(&self) {
        let mut delay = self.delay.subscribe();
        loop {
            let late = *delay.borrow_and_update();
            if late.is_zero() {
                return;
            }
            tokio::select! {
                () = sleep(late) => return,
                _ = delay.changed() => {}
            }
        }
    }
}

impl Refusals {
    fn set(&self, count: usize, reason: Condition) {
        *lock(&self.0) = (count > 0).then_some((count, reason));
    }

    fn next(&self) -> Result<(), Condition> {
        let mut left = lock(&self.0);
        let Some((count, reason)) = left.as_mut() else {
            return Ok(());
        };
        let reason = reason.clone();
        *count -= 1;
        if *count == 0 {
            *left = None;
        }
        Err(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_throttled_hub_is_busy_for_as_many_requests_or_as_long_as_asked_for() {
        let faults = HubFaults::default();
        let refused =
            |result: Result<(), Condition>| result.is_err_and(|reason| reason.symbol == SERVER_BUSY);
        faults.throttle(Throttle::Next(2));
        assert!(refused(faults.attach()) && refused(faults.send()));
        assert_eq!((faults.attach(), faults.send()), (Ok(()), Ok(())));
        faults.throttle(Throttle::For(Duration::from_secs(4)));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(refused(faults.busy()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(faults.busy(), Ok(()));
        faults.throttle(Throttle::Next(2));
        faults.throttle(Throttle::Next(0));
        assert_eq!(faults.busy(), Ok(()));
    }

    #[test]
    fn as_many_are_refused_as_asked_for() {
        let faults = HubFaults::default();
        assert_eq!(faults.attach(), Ok(()));
        faults.refuse_attaches(2, Condition::new("a", "b"));
        assert_eq!(faults.attach(), Err(Condition::new("a", "b")));
        assert_eq!(faults.attach(), Err(Condition::new("a", "b")));
        assert_eq!(faults.attach(), Ok(()));
        faults.refuse_attaches(5, Condition::new("a", "b"));
        faults.refuse_attaches(0, Condition::new("a", "b"));
        assert_eq!((faults.attach(), faults.send()), (Ok(()), Ok(())));
    }
}
