//! What an event hub is told to do wrong: a bad day that tests ask for.

use std::sync::Mutex;

use tokio::sync::watch;

use crate::condition::Condition;
use crate::hub::lock;

/// The trouble of one event hub. None by default.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    attaches: Refusals,
    sends: Refusals,
    paused: watch::Sender<bool>,
}

/// How many requests to refuse still, and how.
#[derive(Debug, Default)]
struct Refusals(Mutex<Option<(usize, Condition)>>);

impl Trouble {
    pub(crate) fn refuse_attaches(&self, count: usize, reason: Condition) {
        self.attaches.set(count, reason);
    }

    pub(crate) fn refuse_sends(&self, count: usize, reason: Condition) {
        self.sends.set(count, reason);
    }

    pub(crate) fn pause_deliveries(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Whether a link may attach. Counts.
    ///
    /// # Errors
    /// When it is one of those to refuse.
    pub(crate) fn attach(&self) -> Result<(), Condition> {
        self.attaches.next()
    }

    /// Whether a message may be kept. Counts.
    ///
    /// # Errors
    /// When it is one of those to refuse.
    pub(crate) fn send(&self) -> Result<(), Condition> {
        self.sends.next()
    }

    /// Returns as soon as events may go out.
    pub(crate) async fn may_deliver(&self) {
        // the sender lives in self, so the wait cannot fail
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
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

    #[test]
    fn as_many_are_refused_as_asked_for() {
        let trouble = Trouble::default();
        assert_eq!(trouble.attach(), Ok(()));
        trouble.refuse_attaches(2, Condition::new("a", "b"));
        assert_eq!(trouble.attach(), Err(Condition::new("a", "b")));
        assert_eq!(trouble.attach(), Err(Condition::new("a", "b")));
        assert_eq!(trouble.attach(), Ok(()));
        trouble.refuse_attaches(5, Condition::new("a", "b"));
        trouble.refuse_attaches(0, Condition::new("a", "b"));
        assert_eq!((trouble.attach(), trouble.send()), (Ok(()), Ok(())));
    }
}
