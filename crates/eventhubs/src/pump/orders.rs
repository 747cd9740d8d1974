//! What a pump has to obey while it works and waits: the orders of the processor, the end of the lease, a pause, and a
//! position that the user seeks.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;

use crate::PartitionContext;
use crate::exit::{Exit, Order};

/// The orders for one partition. Clones get the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    context: PartitionContext,
    received: watch::Receiver<Order>,
    /// The last order that [`next`](Self::next) returned.
    last: Order,
}

impl Orders {
    pub(crate) fn new(context: PartitionContext, received: watch::Receiver<Order>) -> Self {
        Self { context, received, last: Order::Run }
    }

    pub(crate) fn context(&self) -> &PartitionContext {
        &self.context
    }

    /// Whether to continue, right now.
    pub(crate) fn obey(&self) -> Result<(), Exit> {
        match *self.received.borrow() {
            Order::Run if !self.context.checkpointer().is_owned() => Err(Exit::Ordered(Order::OwnershipLost)),
            Order::Run if self.context.is_sought() => Err(Exit::Sought),
            Order::Run => Ok(()),
            order => Err(Exit::Ordered(order)),
        }
    }

    /// As [`obey`](Self::obey), at a fraction of the cost: between the events of one turn, of which none has waited.
    pub(crate) fn obey_still(&self) -> Result<(), Exit> {
        let is_unchanged = self.last == Order::Run
            && matches!(self.received.has_changed(), Ok(false))
            && !self.context.is_sought();
        if is_unchanged && self.context.checkpointer().is_owned_still() { Ok(()) } else { self.obey() }
    }

    /// Waits out a pause, and obeys any order.
    pub(crate) async fn may_call(&mut self) -> Result<(), Exit> {
        if self.context.is_paused() {
            let context = self.context.clone();
            self.unless_ordered(context.resumed()).await?;
        }
        self.obey()
    }

    /// Waits for an order to stop. A processor that is gone counts as one, and so does a lease that has ended: the pump
    /// stops in time also where the processor is late to say so.
    pub(crate) async fn next(&mut self) -> Order {
        let order = self.received.wait_for(|order| *order != Order::Run);
        self.last = tokio::select! {
            biased;
            order = order => order.map_or(Order::Shutdown, |order| *order),
            () = self.context.checkpointer().lease_ended() => {
                // Who waits for the end of the ownership is to learn of it now, and not when the pump has closed.
                self.context.checkpointer().revoke();
                Order::OwnershipLost
            }
        };
        self.last
    }

    /// Waits for the future, or for an order or a seek.
    ///
    /// What is ready at once costs no timer and no registration.
    pub(crate) async fn unless_ordered<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Exit> {
        // An order first: events that are there already would keep a busy partition from ever stopping.
        self.obey()?;
        let mut future = pin!(future);
        if let Poll::Ready(value) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Ok(value);
        }
        let context = self.context.clone();
        tokio::select! {
            biased;
            order = self.next() => Err(Exit::Ordered(order)),
            () = context.sought() => Err(Exit::Sought),
            value = future => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use eventhubs_checkpoint_store::MemoryCheckpointStore;
    use eventhubs_types::{ConsumerGroup, ConsumerScope};
    use futures::FutureExt as _;

    use super::*;

    fn orders() -> (watch::Sender<Order>, Orders) {
        let scope =
            ConsumerScope::new("ns".parse().unwrap(), "hub".parse().unwrap(), ConsumerGroup::default());
        let store = Arc::new(MemoryCheckpointStore::new());
        let (orders, received) = watch::channel(Order::Run);
        (orders, Orders::new(PartitionContext::for_tests(store, scope, "0".parse().unwrap()), received))
    }

    /// A processor that is gone, because its run was dropped, leaves no pump behind.
    #[tokio::test]
    async fn a_processor_that_is_gone_is_an_order_to_stop() {
        let (sender, mut orders) = orders();
        assert!(orders.next().now_or_never().is_none());
        sender.send_replace(Order::HandOver);
        assert_eq!(orders.next().await, Order::HandOver);
        sender.send_replace(Order::Run);
        drop(sender);
        assert_eq!(orders.next().await, Order::Shutdown);
    }

    #[tokio::test]
    async fn an_order_comes_before_what_is_ready() {
        let (sender, mut orders) = orders();
        assert!(matches!(orders.unless_ordered(ready(3)).await, Ok(3)));
        sender.send_replace(Order::Shutdown);
        assert!(matches!(orders.unless_ordered(ready(3)).await, Err(Exit::Ordered(Order::Shutdown))));
    }

    #[tokio::test]
    async fn a_wait_ends_with_an_order() {
        let (sender, mut orders) = orders();
        let waiting = tokio::spawn(async move { orders.unless_ordered(pending::<()>()).await.is_err() });
        tokio::task::yield_now().await;
        sender.send_replace(Order::HandOver);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_pause_waits_for_its_end_or_for_an_order() {
        let (sender, mut orders) = orders();
        let context = orders.context().clone();
        context.pause();
        let mut other = orders.clone();
        let waiting = tokio::spawn(async move { other.may_call().await.is_ok() });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        context.resume();
        assert!(waiting.await.unwrap());
        context.pause();
        sender.send_replace(Order::Shutdown);
        assert!(orders.may_call().await.is_err());
    }
}
