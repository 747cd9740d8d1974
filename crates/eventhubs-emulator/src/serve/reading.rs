//! How far one consumer has come: written by its link, looked at from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::wire::sending_link::SendingLink;

#[derive(Debug)]
pub(crate) struct Reading {
    /// The sequence number of the next event to send.
    next: AtomicI64,
    delivered: AtomicU64,
    link: Arc<SendingLink>,
}

impl Reading {
    pub(crate) fn from(next: i64, link: Arc<SendingLink>) -> Self {
        Self { next: AtomicI64::new(next), delivered: AtomicU64::new(0), link }
    }

    /// Counts events that were sent, the last of which has this sequence number.
    pub(crate) fn delivered_up_to(&self, sequence_number: i64, count: usize) {
        self.next.store(sequence_number + 1, Ordering::Relaxed);
        self.delivered.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn credit(&self) -> u32 {
        self.link.outstanding()
    }
}
