//! What the tasks of one run share: client, callbacks, options, and reports to `on_error`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use eventhubs_checkpoint_store::CheckpointStore;
use eventhubs_load_balancer::Lease;
use eventhubs_types::{PartitionId, SequenceNumber};
use tokio::time::timeout;

use crate::checkpointer::Checkpointer;
use crate::gauges::Gauges;
use crate::hooks::{Hooks, OnEvents, guarded};
use crate::instance::Instance;
use crate::observe::Observation;
use crate::options::Options;
use crate::policy::rate::DeadLetterRate;
use crate::report::{PartitionReport, ReceiveReport};
use crate::watchdog::Calls;
use crate::{Error, ErrorKind, PartitionContext};

/// One call of `receive`: what its tasks share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) instance: Arc<Instance>,
    pub(crate) on_events: OnEvents,
    pub(crate) hooks: Hooks,
    pub(crate) options: Options,
    pub(crate) calls: Arc<Calls>,
    pub(crate) dead_letters: DeadLetterRate,
    /// What is read instead of the event hub.
    #[cfg(feature = "testkit")]
    pub(crate) script: Option<crate::testing::Script>,
    /// The errors so far, for a test.
    #[cfg(feature = "testkit")]
    pub(crate) reported: Mutex<Vec<(ErrorKind, Option<PartitionId>, String)>>,
    /// Whether any partition was ever open. Never goes back to false: see [`ends_with`](Self::ends_with).
    opened: AtomicBool,
    /// The partitions that the event hub had when a balanced run began.
    initial: OnceLock<BTreeSet<PartitionId>>,
    /// The last events of a bounded run, where the service said what they are. Outlives the pumps.
    ends: Mutex<BTreeMap<PartitionId, SequenceNumber>>,
    report: Mutex<ReceiveReport>,
}

impl Run {
    pub(crate) fn new(instance: Arc<Instance>, on_events: OnEvents, hooks: Hooks, options: Options) -> Self {
        Self {
            instance,
            on_events,
            hooks,
            options,
            calls: Arc::default(),
            dead_letters: DeadLetterRate::default(),
            #[cfg(feature = "testkit")]
            script: None,
            #[cfg(feature = "testkit")]
            reported: Mutex::default(),
            opened: AtomicBool::new(false),
            initial: OnceLock::new(),
            ends: Mutex::default(),
            report: Mutex::default(),
        }
    }

    /// These partitions are read, so that the report has them whatever becomes of them.
    pub(crate) fn reads<'a>(&self, partitions: impl IntoIterator<Item = &'a PartitionId>) {
        partitions.into_iter().for_each(|partition| self.add(partition, &PartitionReport::default()));
    }

    /// Adds what was done on a partition.
    pub(crate) fn add(&self, partition: &PartitionId, report: &PartitionReport) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).add(partition, report);
    }

    /// What was done so far by pumps that have ended.
    pub(crate) fn report_so_far(&self) -> ReceiveReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the last event of a partition in a bounded run: `newest`, unless it is known from before.
    pub(crate) fn fix_end(&self, partition: &PartitionId, newest: SequenceNumber) -> SequenceNumber {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        *ends.entry(partition.clone()).or_insert(newest)
    }

    pub(crate) fn forget_end(&self, partition: &PartitionId) {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).remove(partition);
    }

    /// What a pump and its callbacks share; `lease` says how long, where the partition is owned.
    pub(crate) fn context(&self, partition: &PartitionId, lease: Option<Lease>) -> PartitionContext {
        let Instance { store, scope, .. } = &*self.instance;
        let store = Arc::clone(store) as Arc<dyn CheckpointStore>;
        let checkpointer = Checkpointer::new(store, scope.clone(), partition.clone(), lease);
        let gauges = Arc::new(Gauges::new(self.options.stall_after));
        PartitionContext::new(checkpointer, gauges, self.options.concurrency.is_used())
    }

    /// Whether the instances share the partitions out, so that one partition may have several readers in
    /// turn.
    pub(crate) fn is_balanced(&self) -> bool {
        self.options.partition.is_none()
    }

    /// The event hub has these partitions as the run begins.
    pub(crate) fn found(&self, partitions: &[PartitionId]) {
        self.initial.get_or_init(|| partitions.iter().cloned().collect());
    }

    /// Whether the event hub has got this partition since the run began, and the user did not name it before.
    pub(crate) fn has_appeared(&self, partition: &PartitionId) -> bool {
        let is_named = self.options.starting_positions.contains_key(partition);
        !is_named && self.initial.get().is_some_and(|initial| !initial.contains(partition))
    }

    /// Asks for the newest event of a partition; `None` if it holds none.
    pub(crate) async fn newest(&self, partition: &PartitionId) -> Result<Option<SequenceNumber>, Error> {
        #[cfg(feature = "testkit")]
        if let Some(script) = &self.script {
            return Ok(script.newest(partition));
        }
        let failure = "the newest event could not be looked up";
        let properties = self.instance.partition_properties(partition, failure).await?;
        Ok(properties.last_enqueued_sequence_number.filter(|_| !properties.is_empty))
    }

    /// A partition could be read: from now on what looks like a mistake may pass.
    pub(crate) fn opened(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }

    /// Whether an error ends the run: a client stays closed, and a mistake in the configuration shows before
    /// anything was ever read.
    pub(crate) fn ends_with(&self, error: &Error) -> bool {
        let may_be_mistake = !self.opened.load(Ordering::Relaxed);
        match error.kind() {
            // Forever: every further attempt would fail in the same way.
            ErrorKind::Closed => true,
            ErrorKind::NotFound
            | ErrorKind::Unauthorized
            | ErrorKind::InvalidArgument
            | ErrorKind::HostNotFound
            | ErrorKind::UntrustedCertificate => may_be_mistake,
            ErrorKind::InvalidPosition => may_be_mistake && self.options.partition.is_some(),
            _ => false,
        }
    }

    /// Tells the observers of the client.
    pub(crate) fn observe(&self, observation: &Observation<'_>) {
        self.instance.observers.observe(observation);
    }

    /// Logs an error and calls the hook with it, which has a time limit: its partition waits for it.
    pub(crate) async fn report(&self, context: Option<&PartitionContext>, error: Error) {
        log(&error);
        if let Some(context) = context {
            context.gauges().set_error(&error);
        }
        self.observe(&Observation::Error(&error));
        #[cfg(feature = "testkit")]
        if let Ok(mut reported) = self.reported.lock() {
            reported.push((error.kind(), error.partition().cloned(), error.to_string()));
        }
        // Logged whether there is a hook or not, and before it: a hook that hangs must not hide the error.
        let Some(hook) = &self.hooks.error else { return };
        let limit = self.options.shutdown_timeout;
        match timeout(limit, guarded(|| hook(context.cloned(), error))).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => tracing::error!(error = %panic, "the error hook failed"),
            Err(_) => tracing::error!(?limit, "the error hook was still running, and was dropped"),
        }
    }
}

fn log(error: &Error) {
    let partition = error.partition().map(tracing::field::display);
    tracing::warn!(partition, kind = ?error.kind(), "{error}");
}
