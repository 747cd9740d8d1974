//! The observers of a client, called so that none of them can harm it: a panic of one is logged. The log lines about moves of
//! partitions come from here too, so that the log and the observers never disagree.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use eventhubs_types::ConsumerScope;

use crate::log;
use crate::observe::{Call, CallObserver, CallOutcome, CallScope, Observation, ObservedPartition, Observer};
use crate::status::StatusReader;

/// The observers of a client.
#[derive(Clone)]
pub(crate) struct Observers {
    scope: ConsumerScope,
    each: Arc<[Arc<dyn Observer>]>,
}

impl Observers {
    pub(crate) fn new(scope: ConsumerScope, each: Vec<Arc<dyn Observer>>) -> Self {
        Self { scope, each: each.into() }
    }

    /// The same observers, of a client for another consumer group.
    pub(crate) fn of(&self, scope: ConsumerScope) -> Self {
        Self { scope, each: Arc::clone(&self.each) }
    }

    pub(crate) fn started(&self, status: &StatusReader) {
        self.tell(|observer| observer.started(status.clone()));
    }

    pub(crate) fn observe(&self, observation: &Observation<'_>) {
        log::observed(observation);
        self.tell(|observer| observer.observe(&self.scope, observation));
    }

    fn tell(&self, tell: impl Fn(&dyn Observer)) {
        for observer in &*self.each {
            let _ = unless_it_panics(|| tell(&**observer));
        }
    }

    /// What watches the calls for a partition.
    pub(crate) fn calls(&self, partition: &ObservedPartition<'_>) -> Option<Box<dyn CallObserver>> {
        let watching =
            |observer: &Arc<dyn Observer>| unless_it_panics(|| observer.calls(partition)).flatten();
        let mut watching: Vec<_> = self.each.iter().filter_map(watching).collect();
        if watching.len() > 1 { Some(Box::new(Several(watching))) } else { watching.pop() }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observers", self.each.len())
    }
}

fn unless_it_panics<T>(call: impl FnOnce() -> T) -> Option<T> {
    let called = catch_unwind(AssertUnwindSafe(call));
    if called.is_err() {
        tracing::error!("an observer panicked");
    }
    called.ok()
}

/// What several observers have for the calls of one partition.
struct Several(Vec<Box<dyn CallObserver>>);

impl CallObserver for Several {
    fn begin(&self, call: &Call<'_>) -> Option<Box<dyn CallScope>> {
        let scopes: Vec<_> = self.0.iter().filter_map(|observer| observer.begin(call)).collect();
        (!scopes.is_empty()).then(|| Box::new(Nested(scopes)) as _)
    }
}

/// The scopes of several observers, one within the other.
struct Nested(Vec<Box<dyn CallScope>>);

impl CallScope for Nested {
    fn poll(&mut self, poll: &mut dyn FnMut()) {
        poll_within(&mut self.0, poll);
    }

    fn end(self: Box<Self>, outcome: CallOutcome<'_>) {
        // The inner ones end first.
        self.0.into_iter().rev().for_each(|scope| scope.end(outcome));
    }
}

fn poll_within(scopes: &mut [Box<dyn CallScope>], poll: &mut dyn FnMut()) {
    match scopes.split_first_mut() {
        Some((outer, inner)) => outer.poll(&mut || poll_within(inner, poll)),
        None => poll(),
    }
}
