//! A handler as a type, in place of closures: for handlers that have state, or that are tested by themselves.

use std::future::{Future, ready};
use std::sync::Arc;

use eventhubs_amqp::ReceivedEvent;
use futures::TryFutureExt as _;

use crate::receive::{Batches, Events, Receive};
use crate::{CloseReason, ConsumerClient, Error, HandlerError, HandlerResult, PartitionContext};

/// Handles the events of all partitions of a run.
///
/// Calls for one partition never overlap and are in order, unless a [concurrency](Receive::concurrency) is set; calls for
/// different partitions run at the same time, which is why a handler is shared. Each method may be written as an `async fn`. See
/// [`ConsumerClient::receive`] for what a failure means.
///
/// ```
/// # use eventhubs::{ConsumerClient, StartingPosition};
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use eventhubs::{CloseReason, EventHandler, HandlerResult, PartitionContext, ReceivedEvent};
///
/// #[derive(Default)]
/// struct Counter {
///     events: AtomicUsize,
/// }
///
/// impl EventHandler for Counter {
///     async fn on_event(&self, context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
///         self.events.fetch_add(1, Ordering::Relaxed);
///         context.update_checkpoint(&event).await?;
///         Ok(())
///     }
///
///     async fn on_partition_close(&self, context: PartitionContext, reason: CloseReason) {
///         println!("partition {} closed: {reason:?}", context.partition_id());
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let emulator = eventhubs_emulator::Emulator::builder().event_hub("orders", 1).start().await?;
/// # emulator.publish("orders", ["tea", "coffee"])?;
/// # let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;
/// let counter = std::sync::Arc::new(Counter::default());
/// let receive = client.receive_with(std::sync::Arc::clone(&counter)).starting_position(StartingPosition::Earliest);
/// # let counter = std::sync::Arc::clone(&counter);
/// # let stop = async move { while counter.events.load(Ordering::Relaxed) < 2 { tokio::task::yield_now().await } };
/// receive.with_graceful_shutdown(stop).await?;
/// # Ok(())
/// # }
/// ```
pub trait EventHandler: Send + Sync + 'static {
    /// Handles one event.
    fn on_event(
        &self,
        context: PartitionContext,
        event: ReceivedEvent,
    ) -> impl Future<Output = HandlerResult> + Send;

    /// Called before the first event of a partition, each time this instance begins to read it. An error
    /// closes the partition again, and it is tried again after a pause.
    fn on_partition_initialize(
        &self,
        context: PartitionContext,
    ) -> impl Future<Output = HandlerResult> + Send {
        drop(context);
        ready(Ok(()))
    }

    /// Called after the last event of a partition, before others may read it.
    fn on_partition_close(
        &self,
        context: PartitionContext,
        reason: CloseReason,
    ) -> impl Future<Output = ()> + Send {
        drop((context, reason));
        ready(())
    }

    /// Called with each error, and the partition if it concerns one.
    fn on_error(&self, context: Option<PartitionContext>, error: Error) -> impl Future<Output = ()> + Send {
        drop((context, error));
        ready(())
    }
}

impl<H: EventHandler> EventHandler for Arc<H> {
    fn on_event(
        &self,
        context: PartitionContext,
        event: ReceivedEvent,
    ) -> impl Future<Output = HandlerResult> + Send {
        H::on_event(self, context, event)
    }

    fn on_partition_initialize(
        &self,
        context: PartitionContext,
    ) -> impl Future<Output = HandlerResult> + Send {
        H::on_partition_initialize(self, context)
    }

    fn on_partition_close(
        &self,
        context: PartitionContext,
        reason: CloseReason,
    ) -> impl Future<Output = ()> + Send {
        H::on_partition_close(self, context, reason)
    }

    fn on_error(&self, context: Option<PartitionContext>, error: Error) -> impl Future<Output = ()> + Send {
        H::on_error(self, context, error)
    }
}

/// A function is a handler without hooks, and may fail with any error that converts into a [`HandlerError`].
impl<F, Fut, E> EventHandler for F
where
    F: Fn(PartitionContext, ReceivedEvent) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<HandlerError>,
{
    async fn on_event(&self, context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
        self(context, event).await.map_err(Into::into)
    }
}

impl ConsumerClient {
    /// Receives events with a handler that is a type; otherwise as [`receive`](Self::receive), whose closures
    /// it becomes. A hook that is set on the [`Receive`] replaces the handler's own.
    ///
    /// A function is a handler too, and may fail with an error of any type, such as the one of `anyhow`.
    /// [`receive`](Self::receive) wants a [`HandlerResult`], so that the compiler knows the error of a
    /// closure that says `?`.
    ///
    /// ```
    /// # use eventhubs::{ConsumerClient, PartitionContext, ReceivedEvent, StartingPosition};
    /// async fn handle(context: PartitionContext, event: ReceivedEvent) -> Result<(), eventhubs::Error> {
    ///     context.update_checkpoint(&event).await?;
    ///     Ok(())
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let emulator = eventhubs_emulator::Emulator::builder().event_hub("orders", 1).start().await?;
    /// # let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;
    /// let receive = client.receive_with(handle);
    /// # receive.with_graceful_shutdown(async {}).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn receive_with(&self, handler: impl EventHandler) -> Receive<Events> {
        let handler = Arc::new(handler);
        let (events, opening, closing, errors) =
            (Arc::clone(&handler), Arc::clone(&handler), Arc::clone(&handler), handler);
        let receive = self.receive(move |context, event| {
            let handler = Arc::clone(&events);
            async move { handler.on_event(context, event).await }
        });
        let receive = receive.on_partition_initialize(move |context| {
            let handler = Arc::clone(&opening);
            async move { handler.on_partition_initialize(context).await }
        });
        let receive = receive.on_partition_close(move |context, reason| {
            let handler = Arc::clone(&closing);
            async move { handler.on_partition_close(context, reason).await }
        });
        receive.on_error(move |context, error| {
            let handler = Arc::clone(&errors);
            async move { handler.on_error(context, error).await }
        })
    }

    /// Receives events in batches with a function that may fail with an error of any type; otherwise as
    /// [`receive_batch`](Self::receive_batch).
    pub fn receive_batch_with<F, Fut, E>(&self, on_batch: F) -> Receive<Batches>
    where
        F: Fn(PartitionContext, Vec<ReceivedEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<HandlerError> + 'static,
    {
        self.receive_batch(move |context, events| on_batch(context, events).map_err(Into::into))
    }
}
