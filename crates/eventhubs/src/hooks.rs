//! The user's callbacks and hooks, boxed, and guarded against their panics.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use eventhubs_amqp::ReceivedEvent;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::ReusableBoxFuture;

use crate::policy::failure::Panicked;
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
    /// A [bounded](crate::Receive::until) run has read the partition to its bound. It is still owned, so a last
    /// checkpoint can be written, and it is not opened again.
    Bounded,
    /// [`PartitionContext::seek`] was called: the partition stays owned and is opened again at the position asked for. A
    /// checkpoint can be written.
    Sought,
}

pub(crate) type Callback1<A, R> = Box<dyn Fn(A) -> BoxFuture<'static, R> + Send + Sync>;
pub(crate) type Callback2<A, B, R> = Box<dyn Fn(A, B) -> BoxFuture<'static, R> + Send + Sync>;

/// Where a callback puts the future of a call. The memory is used again for the next one, which has the same size.
pub(crate) type Slot = ReusableBoxFuture<'static, HandlerResult>;

/// A callback that is called for each event: it makes the future of the call in the slot.
type InSlot<A> = Box<dyn Fn(&mut Slot, PartitionContext, A) + Send + Sync>;
pub(crate) type EachCallback = InSlot<ReceivedEvent>;
pub(crate) type BatchCallback = InSlot<Vec<ReceivedEvent>>;

/// What is called with events.
pub(crate) enum OnEvents {
    Each { event: EachCallback, idle: Option<OnIdle> },
    Batch(BatchCallback),
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

pub(crate) fn in_slot<A, F, Fut>(callback: F) -> InSlot<A>
where
    F: Fn(PartitionContext, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    Box::new(move |slot, context, argument| slot.set(callback(context, argument)))
}

/// Runs what may call code of the user so that its panic is its own error and nobody else's. `call` makes the
/// future, since a closure may panic before it returns one.
pub(crate) async fn guarded<'a, T>(call: impl FnOnce() -> BoxFuture<'a, T>) -> Result<T, HandlerError> {
    AssertUnwindSafe(async { call().await }).catch_unwind().await.map_err(|panic| panicked(&*panic))
}

/// As [`guarded`], of what does not wait.
pub(crate) fn guarded_now<T>(call: impl FnOnce() -> T) -> Result<T, HandlerError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panicked(&*panic))
}

fn panicked(panic: &(dyn Any + Send)) -> HandlerError {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Panicked(text.unwrap_or_default()).into()
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
