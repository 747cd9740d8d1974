//! Many runs at once, one per thread. Its tests are in `tests/it/determinism.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::{Outcome, Scenario, simulate};

/// Plays all runs on so many threads, and tells of each as it ends; the outcomes come in the order of the
/// runs.
///
/// # Panics
/// As [`simulate`] does.
pub fn simulate_all(
    runs: &[(Scenario, u64)],
    threads: usize,
    ended: impl Fn(&Outcome) + Sync,
) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(runs.len()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((scenario, seed)) = runs.get(number) else {
                break;
            };
            let outcome = simulate(scenario, *seed);
            ended(&outcome);
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes.push((number, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
