//! The outcome of a run as a line for the terminal.

use crate::Outcome;

/// The names of the columns.
pub const HEADER: &str = "scenario                  instances partitions   seed  converge conflicts  needless   changes    \
                          peak  steady  unread";

/// One run.
pub fn line(outcome: &Outcome) -> String {
    let Outcome { scenario, instances, partitions, seed, numbers, .. } = outcome;
    format!(
        "{scenario:<25} {instances:>9} {partitions:>10} {seed:>6} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7.1} {:>7.1}",
        time_or_never(numbers.converge_s),
        numbers.conflicts,
        numbers.needless_steals,
        numbers.ownership_changes,
        numbers.peak_rps,
        numbers.steady_rps,
        numbers.longest_unread_s,
    )
}

pub(crate) fn time_or_never(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1}"))
}
