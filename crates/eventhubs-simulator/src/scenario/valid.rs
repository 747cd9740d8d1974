//! What a scenario may say.

use super::{Action, Event, MAX_DURATION, MAX_INSTANCES, MAX_PARTITIONS, Scenario, StoreModel};

/// A scenario that cannot be played.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The text is no scenario.
    #[error("the scenario cannot be read: {0}")]
    Syntax(String),
    /// A field makes no sense.
    #[error("`{field}` {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Scenario {
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        within("instances", self.instances, MAX_INSTANCES)?;
        within("partitions", self.partitions, MAX_PARTITIONS)?;
        for (field, time) in self.times() {
            if !(0.0..=MAX_DURATION.as_secs_f64()).contains(&time) {
                return Err(invalid(field, format!("is {time}: 0 to {MAX_DURATION:?} are possible")));
            }
        }
        for (field, part) in self.parts() {
            if !(0.0..=1.0).contains(&part) {
                return Err(invalid(field, format!("is {part}: it is a part, from 0 to 1")));
            }
        }
        for model in self.models() {
            let [least, most] = model.latency_ms;
            if !(0.0 < least && least <= most && most <= 600_000.0) {
                return Err(invalid("latency_ms", "needs 0 < least <= most <= 600000".to_owned()));
            }
        }
        if self.fleet.is_empty() {
            return Err(invalid("fleet", "is empty".to_owned()));
        }
        if !self.events.is_sorted_by(|a, b| a.at_s <= b.at_s) {
            return Err(invalid("at_s", "is before the one of the event above it".to_owned()));
        }
        self.settings().map(drop)
    }

    fn times(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let own = [
            ("start_over_s", self.start_over_s),
            ("settle_s", self.settle_s),
            ("duration_s", self.duration_s),
            ("interval_s", self.interval_s),
            ("expiry_s", self.expiry_s),
            ("skew_s", self.clocks.skew_s),
        ];
        let of_models = self.models().map(|model| ("stale_ms", model.stale_ms / 1000.0));
        own.into_iter().chain(of_models).chain(self.events.iter().flat_map(Event::times))
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let of_models = self.models().flat_map(|model| {
            [
                ("errors", model.errors),
                ("errors_after_effect", model.errors_after_effect),
                ("hangs", model.hangs),
            ]
        });
        let of_events = self.events.iter().filter_map(Event::fraction);
        [("clocks.fraction", self.clocks.fraction)]
            .into_iter()
            .chain(of_models)
            .chain(of_events.map(|fraction| ("fraction", fraction)))
    }

    fn models(&self) -> impl Iterator<Item = &StoreModel> {
        let of_events = self.events.iter().filter_map(|event| match &event.action {
            Action::Store { model, .. } => Some(model),
            _ => None,
        });
        [&self.store].into_iter().chain(of_events)
    }
}

impl Event {
    fn times(&self) -> Vec<(&'static str, f64)> {
        let mut times = vec![("at_s", self.at_s)];
        match self.action {
            Action::Join { over_s, .. } | Action::Leave { over_s, .. } => times.push(("over_s", over_s)),
            Action::Deploy { every_s, overlap_s, .. } => {
                times.extend([("every_s", every_s), ("overlap_s", overlap_s)]);
            }
            Action::Store { for_s, .. } => times.push(("for_s", for_s)),
            Action::Crash { .. } => {}
        }
        times
    }

    fn fraction(&self) -> Option<f64> {
        match self.action {
            Action::Join { fraction, .. }
            | Action::Crash { fraction }
            | Action::Leave { fraction, .. }
            | Action::Deploy { fraction, .. } => Some(fraction),
            Action::Store { .. } => None,
        }
    }
}

fn within(field: &'static str, size: usize, most: usize) -> Result<(), ScenarioError> {
    if (1..=most).contains(&size) {
        return Ok(());
    }
    Err(invalid(field, format!("is {size}: 1 to {most} are possible")))
}

pub(super) fn invalid(field: &'static str, reason: String) -> ScenarioError {
    ScenarioError::Invalid { field, reason }
}
