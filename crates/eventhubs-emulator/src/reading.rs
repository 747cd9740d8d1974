//! How far one consumer has come: written by its link, looked at from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::flow::Credit;

#[derive(Debug)]
pub(crate) struct Reading {
    /// The sequence number of the next event to send.
    next: AtomicI64,
    delivered: AtomicU64,
    credit: Option<Arc<Credit>>,
}

impl Reading {
    pub(crate) fn from(next: i64, credit: Option<Arc<Credit>>) -> Self {
        Self { next: AtomicI64::new(next), delivered: AtomicU64::new(0), credit }
    }

    pub(crate) fn delivered_one(&self, sequence_number: i64) {
        self.next.store(sequence_number + 1, Ordering::Relaxed);
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn credit(&self) -> Option<u32> {
        Some(self.credit.as_ref()?.outstanding())
    }
}
