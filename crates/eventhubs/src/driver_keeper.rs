//! Keeps the runtime's timers and sockets going while a callback blocks its thread.
//!
//! A worker of tokio that has polled the I/O driver and found a single task ready runs that task without waking another worker. If
//! the task is a callback that blocks, nobody polls the driver any more: all timers and sockets of the process stand still, and
//! with them the renewals of the leases of every other partition. A task that is spawned from outside of the runtime wakes an idle
//! worker, which takes the driver over. `ownership` in `tests/it` has a run that stops although a callback blocks.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

/// How long the driver may stand still: much shorter than any lease.
const PERIOD: Duration = Duration::from_secs(1);

/// A thread that wakes a worker of the current runtime once in a while, until it is dropped.
#[derive(Debug)]
pub(crate) struct DriverKeeper {
    _until_dropped: Sender<()>,
}

impl DriverKeeper {
    /// `None` where there is no other worker that could be woken.
    pub(crate) fn start() -> Option<Self> {
        let runtime = Handle::current();
        if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread || runtime.metrics().num_workers() < 2 {
            return None;
        }
        let (until_dropped, dropped) = mpsc::channel();
        let keep = move || {
            while dropped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                runtime.spawn(async {});
            }
        };
        let started = thread::Builder::new().name("eventhubs-driver".to_owned()).spawn(keep);
        started.inspect_err(|error| tracing::warn!(%error, "no thread can be started")).ok()?;
        Some(Self { _until_dropped: until_dropped })
    }
}
