//! One run of a scenario on virtual time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::check;
use crate::fleet::Fleet;
use crate::ledger::Ledger;
use crate::outcome::{Numbers, Outcome};
use crate::scenario::{Scenario, seconds};
use crate::store::World;

/// The rate at rest is the mean over so long at the end of a run, or half of the time since all was fair.
const STEADY_WINDOW: Duration = Duration::from_secs(120);

/// Plays a scenario once, on virtual time: the same seed gives the same outcome.
///
/// It blocks the calling thread, and must not be called from within an asynchronous runtime.
///
/// # Panics
/// If it is called from within an asynchronous runtime, or if a field of the scenario was set to something
/// that [`Scenario::parse`] refuses.
pub fn simulate(scenario: &Scenario, seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    runtime.block_on(play(scenario, seed))
}

async fn play(scenario: &Scenario, seed: u64) -> Outcome {
    let settings = scenario.settings().expect("a scenario is checked when it is made");
    let world = World::new(scenario.partitions, scenario.store, seed);
    let mut fleet = Fleet::new(scenario, settings, &world, !seed);
    fleet.start(scenario.instances, seconds(scenario.start_over_s));
    let begun = Instant::now() + seconds(scenario.settle_s);
    sleep_until(begun).await;
    let was_fair = world.ledger(|ledger, now| {
        let was_fair = scenario.settle_s == 0.0 || ledger.is_fair();
        ledger.begin_to_measure(now);
        was_fair
    });
    for event in &scenario.events {
        sleep_until(begun + seconds(event.at_s)).await;
        world.ledger(Ledger::disturb);
        fleet.act(event.action, scenario.store).await;
    }
    sleep_until(begun + seconds(scenario.duration_s)).await;
    outcome(scenario, seed, was_fair, &world)
}

fn outcome(scenario: &Scenario, seed: u64, was_fair: bool, world: &Arc<World>) -> Outcome {
    world.ledger(|ledger, now| {
        let measured = ledger.close(now);
        let converged = ledger.time_to_fairness();
        let window = converged.map_or(STEADY_WINDOW, |_| STEADY_WINDOW.min(ledger.calm_time(now) / 2));
        let window = window.max(Duration::from_secs(1)).min(seconds(scenario.duration_s));
        let numbers = Numbers {
            converge_s: converged.map(|time| time.as_secs_f64()),
            conflicts: measured.conflicts,
            needless_steals: measured.needless_moves(),
            ownership_changes: measured.moves,
            peak_rps: ledger.peak_rps(),
            steady_rps: ledger.mean_rps(window, now),
            longest_unread_s: measured.longest_unread.as_secs_f64(),
        };
        let facts = check::Facts {
            numbers: &numbers,
            was_fair,
            moved_when_fair: ledger.moved_when_fair(seconds(scenario.interval_s)),
            live: ledger.live(),
            breach: ledger.history.breach(),
        };
        Outcome {
            scenario: scenario.name.clone(),
            instances: scenario.instances,
            partitions: scenario.partitions,
            fleet: scenario.fleet.clone(),
            seed,
            violations: check::violations(scenario, &facts),
            trace: ledger.trace.hash(),
            numbers,
        }
    })
}
