//! Keeps the running pumps equal to the partitions that the balancer owns, until the stop and through it. Its
//! tests are in `tests/it`: `balancing`, `ownership` and `handover`; those at the end pin what ends a run in
//! which way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::{BoxStream, CheckpointStore as _, Hint};
use eventhubs_load_balancer::{Balancer, Failure, LossReason, Operation, Origin, Round};
use eventhubs_types::{OwnerId, PartitionId};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use rand::RngExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{Instrument as _, Span};

use crate::ambient::entropy;
use crate::board::Stage;
use crate::exit::{Ended, Order};
use crate::instance::Instance;
use crate::log;
use crate::observe::Observation;
use crate::pump::{Pump, TheftSignal};
use crate::remaining::Remaining;
use crate::run::Run;
use crate::thefts::Thefts;
use crate::{Error, ErrorKind, PartitionContext, Result};

/// How many calls of the error hook may be under way for troubles that belong to no partition; more are only
/// logged.
const MAX_REPORTS: usize = 16;

/// How many pumps may wait to tell that their links were stolen; more wait in line.
const MAX_THEFT_SIGNALS: usize = 64;

/// What a stop takes beyond the time limit of the callbacks: detaching, and the last calls of hooks.
pub(crate) const STOP_MARGIN: Duration = Duration::from_secs(5);

/// How long a task that was aborted may take to end; one that awaits anything ends at once.
pub(crate) const ABORT_LIMIT: Duration = Duration::from_secs(1);

/// Keeps the running pumps equal to the partitions that the balancer owns.
pub(crate) struct Processor {
    run: Arc<Run>,
    balancer: Balancer,
    next_round: Instant,
    /// What is read. A partition that is owned may be missing for a time: after a theft, or while an earlier
    /// pump ends.
    pumps: BTreeMap<PartitionId, Running>,
    /// One for each of `pumps`, and none else.
    tasks: JoinSet<(PartitionId, Ended)>,
    theft_signal: TheftSignal,
    theft_signals: mpsc::Receiver<PartitionId>,
    /// Of the store; it never ends.
    hints: BoxStream<'static, Hint>,
    partitions: watch::Receiver<Vec<PartitionId>>,
    background: JoinSet<()>,
    reports: JoinSet<()>,
    thefts: Thefts,
    remaining: Remaining,
    /// Since when calls of the store have failed.
    store_fails_since: Option<Instant>,
    /// What other instances wait for: since when, and which.
    asked: BTreeMap<PartitionId, (Instant, Option<OwnerId>)>,
}

/// What became of the task of a pump.
type Joined = std::result::Result<(PartitionId, Ended), JoinError>;

#[derive(Debug)]
struct Running {
    context: PartitionContext,
    orders: watch::Sender<Order>,
    task: AbortHandle,
}

impl Processor {
    pub(crate) fn new(run: Arc<Run>, partitions: Vec<PartitionId>, remaining: Remaining) -> Self {
        let instance = &run.instance;
        instance.board.rounds_begin(instance.balancing.longest_between_rounds());
        let mut balancer = Balancer::new(
            Arc::clone(&instance.store) as _,
            instance.scope.clone(),
            instance.owner.clone(),
            instance.balancing.clone(),
            entropy().random(),
        );
        let hints = instance.store.watch(&instance.scope);
        let next_round = Instant::now() + balancer.first_delay(partitions.len());
        let (known, partitions) = watch::channel(partitions);
        let (theft_signal, theft_signals) = mpsc::channel(MAX_THEFT_SIGNALS);
        let mut background = JoinSet::new();
        // What the event hub gets later is not part of a bounded run.
        if !remaining.is_bounded() {
            background.spawn(watch_partitions(Arc::clone(&run), known).in_current_span());
        }
        Self {
            run,
            balancer,
            next_round,
            pumps: BTreeMap::new(),
            tasks: JoinSet::new(),
            theft_signal,
            theft_signals,
            hints,
            partitions,
            background,
            reports: JoinSet::new(),
            thefts: Thefts::default(),
            remaining,
            store_fails_since: None,
            asked: BTreeMap::new(),
        }
    }

    pub(crate) async fn run(mut self, stop: BoxFuture<'static, ()>) -> Result<()> {
        let mut result = self.balance(stop).await;
        self.background.abort_all();
        // Asked twice: a round within `shut_down` may be the one that finds a twin. A clean stop releases the
        // records; the records of a twin are left to it.
        if !has_to_give_way(&result) {
            // In this order: what the stop finds comes before why the run ended, or the twin would go
            // unnoticed.
            result = self.shut_down().await.and(result);
        }
        if has_to_give_way(&result) {
            self.give_way().await;
        }
        result
    }

    /// Until told to stop, and then while other instances take over; or until a bounded run is over.
    ///
    /// # Errors
    /// As [`pumps_ended`](Self::pumps_ended), [`follow`](Self::follow) and [`Remaining::is_over`].
    async fn balance(&mut self, mut stop: BoxFuture<'static, ()>) -> Result<()> {
        self.look_for_rivals().await?;
        loop {
            if self.remaining.is_over()? {
                return Ok(());
            }
            tokio::select! {
                // A stop first, since a busy run always has something else to do. Pumps that have ended come
                // before theft signals: that of a pump that has ended needs no answer. A round comes last: it may
                // take long, and by then it plans with what is known.
                biased;
                () = &mut stop => return self.offer().await,
                Some(ended) = self.tasks.join_next() => self.pumps_ended(ended).await?,
                Some(partition) = self.theft_signals.recv() => self.answer_theft(partition).await?,
                Some(hint) = self.hints.next() => self.hinted(&hint),
                () = sleep_until(self.next_round) => self.round().await?,
            }
        }
    }

    /// A bounded run takes nothing from others, so it looks before it claims.
    async fn look_for_rivals(&mut self) -> Result<()> {
        if self.remaining.is_bounded() {
            let partitions = self.partitions.borrow().clone();
            let look = self.balancer.look(&partitions).await;
            self.follow(look).await?;
        }
        Ok(())
    }

    /// Something may have changed hands: the next round comes earlier.
    fn hinted(&mut self, hint: &Hint) {
        let before = self.next_round;
        self.next_round = self.balancer.hinted(hint, before);
        if self.next_round < before {
            self.run.instance.board.hinted();
        }
    }

    /// One round. It is never cut off, since its claims may have been won.
    async fn round(&mut self) -> Result<()> {
        let partitions = self.partitions.borrow().clone();
        let begun = Instant::now();
        let round = self.balancer.round(&partitions).await;
        self.note_round(begun.elapsed(), &round);
        self.follow(round).await?;
        self.read_again_after_thefts();
        self.next_round = Instant::now() + self.balancer.next_delay();
        Ok(())
    }

    fn note_round(&mut self, duration: Duration, round: &Round) {
        self.run.instance.board.round_ended(duration);
        if round.failures.is_empty() {
            self.run.instance.board.set_stage(None, Stage::Running);
        }
        let (owned, failures) = (self.balancer.owned().count(), round.failures.len());
        self.run.observe(&Observation::Round { duration, owned, failures });
        for ((operation, outcome), count) in self.balancer.take_claims() {
            self.run.observe(&Observation::Claims { operation, outcome, count });
        }
    }

    /// Pumps whose links were stolen are to know whether the thief waits for them.
    async fn answer_theft(&mut self, partition: PartitionId) -> Result<()> {
        // All that are waiting, for one look: a hundred thefts at once must not cost a hundred listings.
        let mut reported = vec![partition];
        while let Ok(partition) = self.theft_signals.try_recv() {
            reported.push(partition);
        }
        let partitions = self.partitions.borrow().clone();
        let look = self.balancer.look(&partitions).await;
        self.follow(look).await?;
        self.note_thefts(&reported);
        for running in reported.iter().filter_map(|partition| self.pumps.get(partition)) {
            // The look has told those that somebody waits for. Whoever has no order by now was stolen by a
            // reader that does not wait.
            running.orders.send_if_modified(|order| {
                let is_unknown = *order == Order::Run;
                if is_unknown {
                    *order = Order::OwnershipLost;
                }
                is_unknown
            });
        }
        Ok(())
    }

    /// What is still ours in the store was taken by a reader that the store does not know.
    fn note_thefts(&mut self, reported: &[PartitionId]) {
        let interval = self.run.instance.balancing.interval();
        let stolen = reported.iter().filter(|partition| self.balancer.lease(partition).is_some());
        for partition in stolen {
            let count = self.thefts.note(partition, Instant::now(), interval);
            if count == 2 {
                let scope = &self.run.instance.scope;
                tracing::warn!(
                    event_hub = %scope.event_hub, consumer_group = %scope.consumer_group, %partition,
                    "another reader takes the partition again and again, and the checkpoint store does not know it: is \
                     the store shared by all instances of the consumer group?"
                );
            }
        }
    }

    /// Starts what is owned and was not read for a time.
    fn read_again_after_thefts(&mut self) {
        let unread = self.balancer.owned().filter(|partition| !self.pumps.contains_key(*partition));
        for partition in unread.cloned().collect::<Vec<_>>() {
            self.start(partition);
        }
    }

    /// Reads on while other instances take over the partitions, for as long as the user lets it.
    async fn offer(&mut self) -> Result<()> {
        if self.run.options.offer_timeout.is_zero() {
            return Ok(());
        }
        self.run.instance.board.set_stage(None, Stage::Stopping);
        let limit = self.run.options.offer_timeout;
        tracing::info!(
            partitions = self.pumps.len(),
            ?limit,
            "stopping: other instances may take the partitions first"
        );
        let deadline = Instant::now() + limit;
        self.next_round = self.next_round.min(Instant::now() + self.balancer.leave());
        while Instant::now() < deadline && !self.pumps.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => self.pumps_ended(ended).await?,
                Some(partition) = self.theft_signals.recv() => self.answer_theft(partition).await?,
                Some(hint) = self.hints.next() => self.hinted(&hint),
                () = sleep_until(self.next_round.min(deadline)) => self.round().await?,
            }
            // Nobody is there who could take what is left: to wait for the limit would only delay the stop.
            if !self.balancer.is_offering() {
                break;
            }
        }
        Ok(())
    }

    /// Does what a round says.
    ///
    /// # Errors
    /// When another process has the owner id: that ends the run.
    async fn follow(&mut self, round: Round) -> Result<()> {
        self.remaining.note_rival(&round);
        // Lost before acquired: a partition may be both, and has to start again from its checkpoint.
        for (partition, reason) in round.lost {
            self.asked.remove(&partition);
            let to = round.takers.get(&partition);
            self.run.observe(&Observation::Lost { partition: &partition, reason, to });
            if let Some(running) = self.pumps.get(&partition) {
                // The checkpoints first: between the two a callback may run on another thread.
                running.context.checkpointer().revoke();
                running.orders.send_replace(Order::OwnershipLost);
            }
        }
        for partition in round.acquired {
            let origin = round.origins.get(&partition).unwrap_or(&Origin::Own);
            self.run.observe(&Observation::Acquired { partition: &partition, origin });
            self.start(partition);
        }
        let mut unread = Vec::new();
        for partition in round.asked {
            let to = round.takers.get(&partition);
            log::asked(&partition, to);
            self.asked.insert(partition.clone(), (Instant::now(), to.cloned()));
            match self.pumps.get(&partition) {
                Some(running) => drop(running.orders.send_replace(Order::HandOver)),
                None => unread.push(partition),
            }
        }
        self.hand_over(&unread).await;
        for record in round.rejected {
            tracing::warn!(
                record = record.name,
                reason = record.reason,
                "ignoring a malformed ownership record"
            );
        }
        self.log_recovery(round.failures.is_empty());
        for failure in round.failures {
            self.report(None, failed(failure));
        }
        // Last, so that what was lost is stopped in any case.
        if round.is_owner_taken {
            let owner = &self.run.instance.owner;
            let text = format!("owner_id: another live process uses {owner}; each needs an id of its own");
            return Err(Error::new(ErrorKind::OwnerIdInUse, text));
        }
        Ok(())
    }

    fn log_recovery(&mut self, is_well: bool) {
        if !is_well {
            self.store_fails_since.get_or_insert_with(Instant::now);
        } else if let Some(since) = self.store_fails_since.take() {
            tracing::info!(after = ?since.elapsed(), "the checkpoint store answers again");
        }
    }

    /// Starts a pump, unless the one of an earlier ownership is still finishing, whose end starts the next,
    /// or the partition was just stolen, or is read to its bound.
    fn start(&mut self, partition: PartitionId) {
        if !self.remaining.has(&partition)
            || self.pumps.contains_key(&partition)
            || !self.thefts.may_read(&partition, Instant::now())
        {
            return;
        }
        let context = self.run.context(&partition, self.balancer.lease(&partition));
        let (orders, received) = watch::channel(Order::Run);
        let theft_signal = Some(self.theft_signal.clone());
        let pump = Pump::new(Arc::clone(&self.run), context.clone(), received, theft_signal);
        let name = partition.clone();
        let span = log::partition_span(&self.run.instance.scope, &self.run.instance.owner, &partition);
        let task = self.tasks.spawn(async move { (name, pump.run().await) }.instrument(span));
        self.pumps.insert(partition, Running { context, orders, task });
    }

    /// Tells those that wait for the partition of a pump that has ended, and of all others that have.
    ///
    /// # Errors
    /// When nothing can be read, because of a mistake in the configuration or because the client is closed:
    /// that ends the run.
    async fn pumps_ended(&mut self, ended: Joined) -> Result<()> {
        let mut partitions = vec![self.pump_ended(ended)?];
        while let Some(ended) = self.tasks.try_join_next() {
            partitions.push(self.pump_ended(ended)?);
        }
        self.hand_over(&partitions).await;
        Ok(())
    }

    fn pump_ended(&mut self, ended: Joined) -> Result<PartitionId> {
        let (partition, ended) = match ended {
            Ok(ended) => ended,
            Err(error) => (self.find(&error), Ended::Stopped),
        };
        self.pumps.remove(&partition);
        debug_assert!(self.tasks.len() >= self.pumps.len(), "each pump that is known has a task");
        match ended {
            Ended::Stopped => {}
            Ended::Bounded => self.remaining.remove(&partition),
            Ended::Stolen => {
                // Where the store knows the thief, the round that saw it has told.
                if self.balancer.lease(&partition).is_some() {
                    let reason = LossReason::Taken;
                    self.run.observe(&Observation::Lost { partition: &partition, reason, to: None });
                }
                self.balancer.forget(&partition);
            }
            Ended::Refused(error) => return Err(error),
        }
        // A lease that has just ended is for the next round to judge.
        if self.balancer.lease(&partition).is_some_and(|lease| lease.is_valid()) {
            self.start(partition.clone());
        }
        Ok(partition)
    }

    /// The pump whose task panicked.
    fn find(&self, error: &JoinError) -> PartitionId {
        tracing::error!(%error, "a pump ended unexpectedly");
        let found = self.pumps.iter().find(|(_, running)| running.task.id() == error.id());
        found.map(|(partition, _)| partition.clone()).expect("every task belongs to a running pump")
    }

    /// Calls the error hook aside, so that a slow hook does not hold up the balancing.
    fn report(&mut self, context: Option<PartitionContext>, error: Error) {
        while self.reports.try_join_next().is_some() {}
        if self.reports.len() >= MAX_REPORTS {
            tracing::warn!(%error, "the error hook is busy, so this error is only logged");
            return;
        }
        let run = Arc::clone(&self.run);
        // A hook's own lines carry the partition, as those of a callback do.
        let Instance { scope, owner, .. } = &*run.instance;
        let span = error.partition().map_or_else(Span::current, |id| log::partition_span(scope, owner, id));
        self.reports.spawn(async move { run.report(context.as_ref(), error).await }.instrument(span));
    }

    /// Stops the pumps, and leaves the records to the other process that writes them under the same id.
    async fn give_way(&mut self) {
        order_all(&self.pumps, Order::OwnershipLost);
        for running in self.pumps.values() {
            running.context.checkpointer().revoke();
        }
        let deadline = Instant::now() + self.run.options.shutdown_timeout + STOP_MARGIN;
        while let Ok(Some(_)) = timeout_at(deadline, self.tasks.join_next()).await {}
    }

    /// Stops the pumps, and releases each partition as soon as its pump has detached. Until then it is
    /// renewed: a callback may take longer than what is left of the lease.
    ///
    /// # Errors
    /// As [`follow`](Self::follow).
    async fn shut_down(&mut self) -> Result<()> {
        self.balancer.wind_down();
        self.run.instance.board.set_stage(None, Stage::Stopping);
        tracing::info!(partitions = self.pumps.len(), "stopping: the rest is closed and released");
        order_all(&self.pumps, Order::Shutdown);
        let deadline = Instant::now() + self.run.options.shutdown_timeout + STOP_MARGIN;
        while !self.tasks.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => self.give_back(ended).await,
                () = sleep_until(deadline) => break,
                () = sleep_until(self.next_round) => self.round().await?,
            }
        }
        self.abandon_pumps().await;
        let has_ended = |partition: &&PartitionId| {
            self.pumps.get(*partition).is_none_or(|running| running.task.is_finished())
        };
        let rest: Vec<_> = self.balancer.owned().filter(has_ended).cloned().collect();
        self.release(&rest).await;
        let reported = async { while self.reports.join_next().await.is_some() {} };
        let _ = timeout_at(deadline.max(Instant::now() + ABORT_LIMIT), reported).await;
        Ok(())
    }

    /// Ends the pumps whose time is over. One that blocks its thread cannot be ended: nobody waits for it, or
    /// the rest would never be released. Its own partition is left to its lease, since the callback is still
    /// at it.
    async fn abandon_pumps(&mut self) {
        self.tasks.abort_all();
        let abandoned = timeout(ABORT_LIMIT, async { while self.tasks.join_next().await.is_some() {} }).await;
        if abandoned.is_ok() {
            return;
        }
        let running = self.pumps.values().filter(|running| !running.task.is_finished());
        for context in running.map(|running| running.context.clone()).collect::<Vec<_>>() {
            let text = "a callback or a hook blocks its thread, and is abandoned; the partition stays leased until the lease expires";
            let error = Error::new(ErrorKind::Timeout, text).on_partition(context.partition_id());
            self.report(Some(context), error);
        }
        self.tasks.detach_all();
    }

    /// Releases the partition of a pump that has ended, and of all others that have.
    async fn give_back(&mut self, ended: Joined) {
        let mut ended = vec![ended];
        while let Some(more) = self.tasks.try_join_next() {
            ended.push(more);
        }
        let ended: Vec<_> = ended.into_iter().filter_map(|ended| Some(ended.ok()?.0)).collect();
        self.hand_over(&ended).await;
        self.release(&ended).await;
    }

    async fn hand_over(&mut self, partitions: &[PartitionId]) {
        for partition in partitions {
            if let Some((since, to)) = self.asked.remove(partition) {
                let (to, after) = (to.as_ref(), since.elapsed());
                self.run.observe(&Observation::HandedOver { partition, to, after });
            }
        }
        for failure in self.balancer.hand_over(partitions).await {
            self.report(None, failed(failure));
        }
    }

    async fn release(&mut self, partitions: &[PartitionId]) {
        for partition in partitions {
            self.run.observe(&Observation::Released { partition });
        }
        for failure in self.balancer.release(partitions).await {
            self.report(None, failed(failure));
        }
    }
}

/// Whether another process has the owner id.
fn has_to_give_way(result: &Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::OwnerIdInUse)
}

fn order_all(pumps: &BTreeMap<PartitionId, Running>, order: Order) {
    for running in pumps.values() {
        running.orders.send_replace(order);
    }
}

fn failed(failure: Failure) -> Error {
    let error = Error::store(format!("could not {}", failure.operation), failure.error);
    match &failure.operation {
        Operation::Renew(partition)
        | Operation::Claim(partition)
        | Operation::Release(partition)
        | Operation::HandOver(partition) => error.on_partition(partition),
        _ => error,
    }
}

/// Looks every interval whether the event hub has got more partitions (docs/contract.md §8.5).
async fn watch_partitions(run: Arc<Run>, known: watch::Sender<Vec<PartitionId>>) {
    loop {
        sleep(run.instance.balancing.interval()).await;
        match run.instance.event_hub_properties().await {
            Ok(properties) => drop(known.send_replace(properties.partition_ids)),
            Err(error) => tracing::debug!(%error, "the list of partitions could not be refreshed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store as store;

    use super::*;

    /// Any other error ends with a release; that of a twin must not, since it would release the records of
    /// the twin.
    #[test]
    fn only_a_twin_is_given_way_to() {
        let failed = |kind| Err(Error::new(kind, "a test"));
        assert!(has_to_give_way(&failed(ErrorKind::OwnerIdInUse)));
        assert!(!has_to_give_way(&failed(ErrorKind::OwnershipLost)));
        assert!(!has_to_give_way(&failed(ErrorKind::Closed)));
        assert!(!has_to_give_way(&Ok(())));
    }

    /// `on_error` gets the partition only where the call was about one.
    #[test]
    fn a_failure_names_the_partition_that_it_is_about() {
        let partition: PartitionId = "3".parse().unwrap();
        let error = || store::Error::new(store::ErrorKind::Unavailable, "a test");
        let of = |operation| failed(Failure::new(operation, error())).partition().cloned();
        assert_eq!(of(Operation::Renew(partition.clone())), Some(partition.clone()));
        assert_eq!(of(Operation::HandOver(partition.clone())), Some(partition));
        assert_eq!(of(Operation::ListOwnership), None);
        assert_eq!(of(Operation::Round), None);
    }
}
