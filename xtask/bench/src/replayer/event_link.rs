//! A link on which the replayer sends pre-encoded events.

use crate::template::{Batch, Shape};

/// About what one write takes, so that links take turns.
const WRITE: usize = 128 * 1024;

/// A link that an SDK reads a partition from.
pub(super) struct EventLink {
    pub(super) channel: u16,
    pub(super) handle: u32,
    batch: Batch,
    /// The number of events sent on this link.
    sent: u64,
    /// The delivery-count of the link at which its credit is used up.
    limit: u32,
    /// When a paced link got its first credit, in nanoseconds.
    began: Option<u64>,
}

impl EventLink {
    pub(super) fn new(shape: Shape, channel: u16, handle: u32) -> Self {
        let count = (WRITE / (shape.body + 128)).max(1);
        Self {
            channel,
            handle,
            batch: Batch::new(shape, channel, handle, count),
            sent: 0,
            limit: 0,
            began: None,
        }
    }

    pub(super) fn delivery_count(&self) -> u32 {
        self.sent as u32
    }

    pub(super) fn credit(&self) -> u32 {
        self.limit.wrapping_sub(self.delivery_count())
    }

    pub(super) fn grant(&mut self, delivery_count: u32, credit: u32) {
        self.limit = delivery_count.wrapping_add(credit);
        // A flow that crossed our transfers on the way may take back what is sent already.
        if self.credit() > u32::MAX / 2 {
            self.limit = self.delivery_count();
        }
    }

    /// How many events are due at a rate per second; all that fit if there is none.
    pub(super) fn due(&mut self, rate: Option<f64>, now: u64) -> usize {
        let Some(rate) = rate else {
            return self.batch.capacity();
        };
        let elapsed = now - *self.began.get_or_insert(now);
        let due = (elapsed as f64 * rate / 1e9) as u64;
        let due = usize::try_from(due.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        due.min(self.batch.capacity())
    }

    /// The next `count` events.
    pub(super) fn next(&mut self, count: usize, delivery: u32) -> &[u8] {
        let first = self.sent;
        self.sent += count as u64;
        self.batch.fill(count, delivery, first)
    }
}
