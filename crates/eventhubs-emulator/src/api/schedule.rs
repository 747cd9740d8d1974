//! Faults over time, drawn from a seed: the same seed and settings give the same faults at the same times.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep_until};

use crate::api::fault::Fault;
use crate::emulator::Emulator;
use crate::error::Result;

/// How many faults one schedule can have.
const MAX_FAULTS: usize = 10_000;

/// What a [`Schedule`] may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleSettings {
    /// The event hubs that faults hit; without any, only connections and tokens are hit.
    pub event_hubs: Vec<String>,
    /// When everything is well again.
    pub duration: Duration,
    /// The time between the beginnings of two faults, on average.
    pub mean_pause: Duration,
    /// The longest that one fault lasts.
    pub longest_outage: Duration,
}

/// What goes wrong when.
///
/// ```
/// use eventhubs_emulator::{Schedule, ScheduleSettings};
///
/// let settings = ScheduleSettings::for_event_hubs(["orders"]);
/// let schedule = Schedule::generate(7, &settings);
/// assert_eq!(schedule, Schedule::generate(7, &settings));
/// println!("{schedule}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    seed: u64,
    steps: Vec<(Duration, Fault)>,
}

impl ScheduleSettings {
    /// Ten seconds in which a fault begins about every half second and lasts up to one.
    pub fn for_event_hubs<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self {
            event_hubs: names.into_iter().map(Into::into).collect(),
            duration: Duration::from_secs(10),
            mean_pause: Duration::from_millis(500),
            longest_outage: Duration::from_secs(1),
        }
    }
}

impl Schedule {
    /// Draws the faults; pure.
    pub fn generate(seed: u64, settings: &ScheduleSettings) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut steps = Vec::new();
        let mut begin = Duration::ZERO;
        while steps.len() < MAX_FAULTS {
            begin += up_to(&mut rng, settings.mean_pause * 2).max(Duration::from_millis(1));
            let end = begin + up_to(&mut rng, settings.longest_outage);
            let (fault, remedy) = draw(&mut rng, &settings.event_hubs, end.saturating_sub(begin));
            if end > settings.duration {
                break;
            }
            steps.push((begin, fault));
            steps.extend(remedy.map(|remedy| (end, remedy)));
        }
        steps.sort_by_key(|(at, _)| *at);
        Self { seed, steps }
    }

    /// What it was drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The faults and their ends, in the order of their times since the start.
    pub fn steps(&self) -> &[(Duration, Fault)] {
        &self.steps
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for (at, fault) in &self.steps {
            writeln!(f, "{:>8.3} s  {fault:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl Emulator {
    /// Injects the faults of a schedule at their times, the first one so long after now as it says.
    ///
    /// # Errors
    /// When an event hub of the schedule does not exist; the faults before are injected.
    ///
    /// # Cancel safety
    /// When the future is dropped, the rest does not happen, and faults that last stay until somebody ends them.
    pub async fn play(&self, schedule: &Schedule) -> Result<()> {
        let start = Instant::now();
        for (at, fault) in &schedule.steps {
            sleep_until(start + *at).await;
            tracing::debug!(seed = schedule.seed, ?at, ?fault, "a fault of the schedule");
            self.inject(fault)?;
        }
        Ok(())
    }
}

/// In whole milliseconds, which are easier to read.
fn up_to(rng: &mut StdRng, limit: Duration) -> Duration {
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(rng.random_range(0..=limit))
}

/// A fault, and what ends it if it lasts.
fn draw(rng: &mut StdRng, event_hubs: &[String], outage: Duration) -> (Fault, Option<Fault>) {
    match event_hubs.choose(rng) {
        Some(event_hub) if rng.random_bool(0.6) => draw_for_hub(rng, event_hub, outage),
        _ => draw_for_connections(rng),
    }
}

fn draw_for_connections(rng: &mut StdRng) -> (Fault, Option<Fault>) {
    let (condition, description) = reason(rng, CONNECTION_CONDITIONS);
    // what stands still is cut in the end, as by a machine on the way that forgot about it
    let cut = Some(Fault::DropConnections {});
    match rng.random_range(0..8) {
        0 => (Fault::CloseConnections { condition, description }, None),
        1 => (Fault::CorruptFrames { count: rng.random_range(1..=3) }, None),
        2 => (Fault::ExpireTokens {}, None),
        3 => (Fault::FreezeConnections {}, cut),
        4 => (Fault::DeafenConnections {}, cut),
        5 => (Fault::MuteConnections {}, cut),
        6 => {
            let bytes_per_second = rng.random_range(1..=10_000);
            (
                Fault::SlowConnections { bytes_per_second },
                Some(Fault::SlowConnections { bytes_per_second: 0 }),
            )
        }
        _ => (Fault::DropConnections {}, None),
    }
}

fn draw_for_hub(rng: &mut StdRng, event_hub: &str, outage: Duration) -> (Fault, Option<Fault>) {
    let event_hub = event_hub.to_owned();
    let hub = event_hub.clone();
    let milliseconds = u64::try_from(outage.as_millis()).unwrap_or(u64::MAX);
    let count = rng.random_range(1..=3);
    let (condition, description) = reason(rng, LINK_CONDITIONS);
    match rng.random_range(0..9) {
        0 => (Fault::DetachLinks { event_hub, condition, description }, None),
        1 => (Fault::EndSessions { event_hub, condition, description }, None),
        2 => (Fault::RefuseAttaches { event_hub, count, condition, description }, None),
        3 => (Fault::RefuseSends { event_hub, count, condition, description }, None),
        4 => (Fault::PauseDeliveries { event_hub }, Some(Fault::ResumeDeliveries { event_hub: hub })),
        5 => {
            let remedy = Fault::DelayDeliveries { event_hub: hub, milliseconds: 0 };
            (Fault::DelayDeliveries { event_hub, milliseconds: milliseconds / 4 }, Some(remedy))
        }
        6 => (Fault::StarveProducers { event_hub }, Some(Fault::FeedProducers { event_hub: hub })),
        7 => (Fault::ThrottleFor { event_hub, milliseconds }, None),
        _ => (Fault::ThrottleNext { event_hub, count }, None),
    }
}

/// Conditions after which a client tries again (docs/contract.md §5.4).
const LINK_CONDITIONS: &[&str] = &[
    "amqp:link:detach-forced",
    "amqp:internal-error",
    "com.microsoft:timeout",
    "com.microsoft:operation-cancelled",
];
const CONNECTION_CONDITIONS: &[&str] = &["amqp:connection:forced", "amqp:internal-error"];

fn reason(rng: &mut StdRng, conditions: &[&str]) -> (String, String) {
    let condition = conditions.choose(rng).expect("the lists are not empty");
    ((*condition).to_owned(), "A fault of the schedule.".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> impl Strategy<Value = ScheduleSettings> {
        let ms = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
        let hubs = prop::collection::vec("[a-z]{1,5}", 0..3);
        (hubs, ms(0..20_000), ms(0..2_000), ms(0..3_000)).prop_map(|(hubs, duration, mean_pause, outage)| {
            let longest_outage = outage;
            ScheduleSettings {
                duration,
                mean_pause,
                longest_outage,
                ..ScheduleSettings::for_event_hubs(hubs)
            }
        })
    }

    /// The hub of a fault, if it hits one.
    fn hub_of(fault: &Fault) -> Option<&str> {
        match fault {
            Fault::DelayDeliveries { event_hub, .. }
            | Fault::DetachLinks { event_hub, .. }
            | Fault::EndSessions { event_hub, .. }
            | Fault::FeedProducers { event_hub }
            | Fault::PauseDeliveries { event_hub }
            | Fault::RefuseAttaches { event_hub, .. }
            | Fault::RefuseSends { event_hub, .. }
            | Fault::ResumeDeliveries { event_hub }
            | Fault::StarveProducers { event_hub }
            | Fault::ThrottleFor { event_hub, .. }
            | Fault::ThrottleNext { event_hub, .. } => Some(event_hub),
            _ => None,
        }
    }

    /// Whether a fault of this kind lasts, and whether this one is an end of it.
    fn lasting(fault: &Fault) -> Option<(String, bool)> {
        let hub = hub_of(fault).unwrap_or_default();
        let (kind, ends) = match fault {
            Fault::PauseDeliveries { .. } => ("pause", false),
            Fault::ResumeDeliveries { .. } => ("pause", true),
            Fault::StarveProducers { .. } => ("starve", false),
            Fault::FeedProducers { .. } => ("starve", true),
            Fault::DelayDeliveries { milliseconds, .. } => ("delay", *milliseconds == 0),
            Fault::SlowConnections { bytes_per_second } => ("slow", *bytes_per_second == 0),
            Fault::FreezeConnections {} | Fault::DeafenConnections {} | Fault::MuteConnections {} => {
                ("freeze", false)
            }
            Fault::DropConnections {} => ("freeze", true),
            _ => return None,
        };
        Some((format!("{kind} {hub}"), ends))
    }

    proptest! {
        #[test]
        fn a_schedule_keeps_to_its_settings(seed: u64, settings in settings()) {
            let schedule = Schedule::generate(seed, &settings);
            prop_assert_eq!(&schedule, &Schedule::generate(seed, &settings));
            prop_assert!(schedule.steps().is_sorted_by_key(|(at, _)| *at));
            let mut troubled = std::collections::BTreeMap::new();
            for (at, fault) in schedule.steps() {
                prop_assert!(*at <= settings.duration, "{schedule}");
                if let Some(hub) = hub_of(fault) {
                    prop_assert!(settings.event_hubs.iter().any(|name| name == hub));
                }
                if let Fault::ThrottleFor { milliseconds, .. } = fault {
                    prop_assert!(*at + Duration::from_millis(*milliseconds) <= settings.duration);
                }
                if let Some((what, ends)) = lasting(fault) {
                    troubled.insert(what, !ends);
                }
            }
            let left: Vec<_> = troubled.iter().filter(|(_, lasts)| **lasts).collect();
            prop_assert!(left.is_empty(), "{left:?} in {schedule}");
        }
    }

    #[test]
    fn every_seed_gives_another_schedule_and_all_together_every_fault() {
        let settings = ScheduleSettings::for_event_hubs(["orders"]);
        let schedules: Vec<_> = (0..100).map(|seed| Schedule::generate(seed, &settings)).collect();
        let distinct: std::collections::BTreeSet<_> = schedules.iter().map(Schedule::to_string).collect();
        assert_eq!(distinct.len(), 100);
        let steps = schedules.iter().flat_map(Schedule::steps);
        let kinds: std::collections::HashSet<_> =
            steps.map(|(_, fault)| std::mem::discriminant(fault)).collect();
        assert_eq!(kinds.len(), 19, "all but the clock and the delay of requests");
    }
}
