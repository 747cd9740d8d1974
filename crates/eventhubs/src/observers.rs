//! The observers of a client, called so that none of them can harm it: a panic of one is logged. The log lines about moves of
//! partitions come from here too, so that the log and the observers never disagree.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::log;
use crate::observe::{Call, CallOutcome, CallScope, Observation, Observer};
use crate::status::StatusReader;

/// The observers of a client.
#[derive(Clone, Default)]
pub(crate) struct Observers(Vec<Arc<dyn Observer>>);

impl Observers {
    pub(crate) fn push(&mut self, observer: Arc<dyn Observer>) {
        self.0.push(observer);
    }

    pub(crate) fn started(&self, status: &StatusReader) {
        self.each(|observer| observer.started(status.clone()));
    }

    pub(crate) fn observe(&self, observation: &Observation<'_>) {
        log::observed(observation);
        self.each(|observer| observer.observe(observation));
    }

    fn each(&self, tell: impl Fn(&dyn Observer)) {
        for observer in &self.0 {
            if catch_unwind(AssertUnwindSafe(|| tell(&**observer))).is_err() {
                tracing::error!("an observer panicked");
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What surrounds a call. A panic here counts as one of the callback, as one of the scope itself does.
    pub(crate) fn call(&self, call: &Call<'_>) -> Option<Box<dyn CallScope>> {
        match &self.0[..] {
            [] => None,
            [one] => one.call(call),
            several => {
                let scopes: Vec<_> = several.iter().filter_map(|observer| observer.call(call)).collect();
                (!scopes.is_empty()).then(|| Box::new(Scopes(scopes)) as _)
            }
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observers", self.0.len())
    }
}

/// The scopes of several observers, one within the other.
struct Scopes(Vec<Box<dyn CallScope>>);

impl CallScope for Scopes {
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
