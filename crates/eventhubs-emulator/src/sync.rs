//! Locks that outlive a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No code panics while it holds one of our locks; if it did, the state would still be whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
