//! Which links of a connection are tapped: shared by the stream and the receivers.
//!
//! Tests: `tap/tests/links.rs`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventhubs_amqp_frames::{KillSwitch, wake_repeatedly};

use super::link::LinkState;
use super::numbers::PeerLink;

/// What the readers of links and the stream of their connection share. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Taps(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Links that are to be attached, by name. Bounded by the links that live.
    expected: Mutex<HashMap<String, Arc<LinkState>>>,
    /// Links that need a flow; each at most once.
    due: Mutex<Vec<PeerLink>>,
    /// Whether the library may have missed credit.
    missed: AtomicBool,
    switch: KillSwitch,
}

impl Taps {
    /// The switch is that of the stream, to wake it.
    pub(crate) fn new(switch: KillSwitch) -> Self {
        let (expected, due) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { expected, due, missed: AtomicBool::new(false), switch }))
    }

    /// Follows the link of this name from its attach on.
    pub(super) fn expect(&self, name: &str, link: Arc<LinkState>) {
        self.expected().insert(name.to_owned(), link);
    }

    pub(super) fn attaching(&self, name: &str) -> Option<Arc<LinkState>> {
        self.expected().remove(name)
    }

    pub(super) fn forget(&self, name: &str) {
        self.expected().remove(name);
    }

    pub(super) fn request_flow(&self, link: PeerLink) {
        let mut due = lock(&self.0.due);
        if !due.contains(&link) {
            due.push(link);
        }
        drop(due);
        // After the unlock: the stream may run at once, on another thread, and asks for what is due.
        self.0.switch.wake();
    }

    /// Takes the links that need a flow.
    pub(super) fn due(&self) -> Vec<PeerLink> {
        std::mem::take(&mut lock(&self.0.due))
    }

    /// Wakes senders of the library again and again: it looks for credit and then waits for it, and what
    /// comes in between wakes nobody (docs/amqp-crate.md §4 no. 15).
    pub(crate) async fn wake_senders(&self) -> Infallible {
        let wake = || {
            self.0.missed.store(true, Ordering::Release);
            self.0.switch.wake();
        };
        wake_repeatedly(wake).await
    }

    pub(super) fn take_missed(&self) -> bool {
        // Asked before each read of the stream: the load spares it the write to a shared cache line.
        self.0.missed.load(Ordering::Relaxed) && self.0.missed.swap(false, Ordering::AcqRel)
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<String, Arc<LinkState>>> {
        lock(&self.0.expected)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
