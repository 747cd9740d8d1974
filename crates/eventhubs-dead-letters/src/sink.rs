//! The trait of what keeps dead letters.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{BoxError, DeadLetter};

/// Keeps events that cannot be handled, so that their partition can continue without losing them.
///
/// # The contract
/// * **A checkpoint passes the event only after `Ok`.** So `Ok` means that the letter is kept for good: it
///   survives the end of this process and a loss of power.
/// * **A letter may come twice**: after a crash between `Ok` and the checkpoint, after a change of owner, or
///   after an answer that was lost. The event is the same if scope, partition, sequence number and enqueued
///   time are; the number of attempts may be another one. The second time is no error.
/// * **A call ends.** It has a time limit of its own, or the partition waits for as long as it hangs.
/// * **A sink that fails makes no event be skipped.** The caller tries again, and in the end reads the
///   partition again from its checkpoint.
/// * **Any letter is taken**, whatever is in the event, its names or the texts of the errors. One that can
///   never be kept, because it is too large for example, is an error each time and never a silent success.
///
/// # Concurrency
/// `put` is called for several partitions at once, and for one partition as many times as there are calls of
/// the handler at once.
///
/// # Cancel safety
/// A call that is dropped leaves the letter whole or not at all, and prevents no later call.
///
/// # Example
/// ```
/// use std::sync::Mutex;
///
/// use eventhubs_dead_letters::{BoxError, DeadLetter, DeadLetterSink, async_trait};
///
/// /// Enough for a test: nothing of it survives the process.
/// #[derive(Debug, Default)]
/// struct InMemory(Mutex<Vec<DeadLetter>>);
///
/// #[async_trait]
/// impl DeadLetterSink for InMemory {
///     async fn put(&self, letter: &DeadLetter) -> Result<(), BoxError> {
///         self.0.lock().map_err(|_| "a panic")?.push(letter.clone());
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait DeadLetterSink: Debug + Send + Sync + 'static {
    /// Keeps the letter for good.
    ///
    /// # Errors
    /// Any error that says why the letter is not kept, or not known to be kept, without a secret in it.
    async fn put(&self, letter: &DeadLetter) -> Result<(), BoxError>;
}

#[async_trait]
impl<S: DeadLetterSink + ?Sized> DeadLetterSink for Arc<S> {
    async fn put(&self, letter: &DeadLetter) -> Result<(), BoxError> {
        (**self).put(letter).await
    }
}
