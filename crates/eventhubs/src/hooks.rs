//! The user's callbacks and hooks, boxed, and guarded against their panics.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use eventhubs_amqp::ReceivedEvent;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{Error, HandlerError, HandlerResult, PartitionContext};

/// Why a partition was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The run ends. The partition is still owned, so a last checkpoint can be written.
    Shutdown,
    /// Another instance owns the partition, or the lease could not be renewed in time.
    OwnershipLost,
    /// Another instance takes the partition over and waits for this one to end, so a last checkpoint can be
    /// written.
    HandedOver,
    /// The callback, or the hook before it, failed. The partition stays owned and is read again from its
    /// checkpoint after a pause.
    HandlerFailed,
    /// The partition could not be read. It stays owned and is tried again after a pause.
    ReceiveFailed,
}

pub(crate) type Callback1<A, R> = Box<dyn Fn(A) -> BoxFuture<'static, R> + Send + Sync>;
pub(crate) type Callback2<A, B, R> = Box<dyn Fn(A, B) -> BoxFuture<'static, R> + Send + Sync>;

/// What is called with events.
pub(crate) enum OnEvents {
    Each { event: Callback2<PartitionContext, ReceivedEvent, HandlerResult>, idle: Option<OnIdle> },
    Batch(Callback2<PartitionContext, Vec<ReceivedEvent>, HandlerResult>),
}

pub(crate) type OnIdle = Callback1<PartitionContext, HandlerResult>;

/// The hooks that are optional.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) initialize: Option<Callback1<PartitionContext, HandlerResult>>,
    pub(crate) error: Option<Callback2<Option<PartitionContext>, Error, ()>>,
    pub(crate) close: Option<Callback2<PartitionContext, CloseReason, ()>>,
}

pub(crate) fn boxed1<A, F, Fut>(callback: F) -> Callback1<A, Fut::Output>
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
{
    Box::new(move |argument| callback(argument).boxed())
}

pub(crate) fn boxed2<A, B, F, Fut>(callback: F) -> Callback2<A, B, Fut::Output>
where
    F: Fn(A, B) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
{
    Box::new(move |first, second| callback(first, second).boxed())
}

/// Runs what may call code of the user so that its panic is its own error and nobody else's. `call` makes the
/// future, since a closure may panic before it returns one.
pub(crate) async fn guarded<'a, T>(call: impl FnOnce() -> BoxFuture<'a, T>) -> Result<T, HandlerError> {
    AssertUnwindSafe(async { call().await }).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        HandlerError::from(format!("it panicked: {}", text.unwrap_or_default()))
    })
}

impl fmt::Debug for OnEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Each { .. } => "Each",
            Self::Batch(_) => "Batch",
        })
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("initialize", &self.initialize.is_some())
            .field("error", &self.error.is_some())
            .field("close", &self.close.is_some())
            .finish()
    }
}
