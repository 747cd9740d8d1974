//! The kill switch of a connection.
//!
//! Tests: those of `stream.rs`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// Ends a connection from outside: its reads come to an end at once and its writes fail. Clones are the same
/// switch.
///
/// fe2o3-amqp spins a core while it waits for a peer that does not answer its close, forever if the handles
/// are gone, and its task cannot be aborted; an end of file is what stops it.
#[derive(Clone, Default)]
pub struct KillSwitch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    pulled: AtomicBool,
    /// The task that reads and writes.
    task: AtomicWaker,
    last_read: Mutex<Option<Instant>>,
}

impl KillSwitch {
    /// Ends the connection.
    pub fn pull(&self) {
        self.0.pulled.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes the task that reads and writes, so that the stream asks its tap what to do unasked.
    pub fn wake(&self) {
        self.0.task.wake();
    }

    /// Returns whether the connection was ended here.
    pub fn is_pulled(&self) -> bool {
        self.0.pulled.load(Ordering::Acquire)
    }

    /// Returns when the peer last sent anything.
    pub fn last_read(&self) -> Option<Instant> {
        *self.0.last_read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_read(&self, now: Instant) {
        *self.0.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Returns whether the connection is to end, and has this task woken when that changes.
    pub(crate) fn is_pulled_or_wakes(&self, cx: &Context<'_>) -> bool {
        // Register before testing: `AtomicWaker::wake` takes the waker, so a pull between test and
        // registration would be lost. That is also why every poll registers again, not only the first.
        self.0.task.register(cx.waker());
        self.is_pulled()
    }
}

impl fmt::Debug for KillSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KillSwitch").field("pulled", &self.is_pulled()).finish()
    }
}
