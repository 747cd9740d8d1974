//! Times by magnitude: sixteen buckets for each power of two, so that a quantile is off by 6 % at most.

use std::sync::atomic::{AtomicU64, Ordering};

const STEPS: u32 = 16;

#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..=bucket(u64::MAX)).map(|_| AtomicU64::new(0));
        Self { buckets: buckets.collect() }
    }
}

impl Histogram {
    pub(crate) fn record(&self, value: u64) {
        self.buckets[bucket(value)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }

    /// The value that this part of all values does not exceed, rounded up; 0 if there are none.
    pub(crate) fn quantile(&self, part: f64) -> u64 {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * part).ceil() as u64;
        let mut seen = 0;
        let reached = counts.iter().position(|count| {
            seen += count;
            seen >= wanted && seen > 0
        });
        reached.map_or(0, largest)
    }
}

fn bucket(value: u64) -> usize {
    let power = value.max(u64::from(STEPS)).ilog2() - STEPS.ilog2();
    (power * STEPS) as usize + (value >> power) as usize
}

/// The largest value of a bucket.
fn largest(bucket: usize) -> u64 {
    let (power, step) = (bucket / STEPS as usize, bucket as u64 % u64::from(STEPS));
    match power {
        0 => step,
        _ => ((u64::from(STEPS) + step + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_rounded_up_by_little() {
        let histogram = Histogram::default();
        (1..=1_000_000).for_each(|value| histogram.record(value));
        for (part, exact) in [(0.5, 500_000), (0.99, 990_000), (1.0, 1_000_000)] {
            let found = histogram.quantile(part);
            assert!((exact..exact * 107 / 100).contains(&found), "{part}: {found}");
        }
    }

    #[test]
    fn every_value_has_a_bucket_that_holds_it() {
        for value in (0..64).map(|bit| 1_u64 << bit).flat_map(|value| [value - 1, value, value | 1]) {
            let bucket = bucket(value);
            assert!(largest(bucket) >= value && (bucket == 0 || largest(bucket - 1) < value), "{value}");
        }
    }

    #[test]
    fn what_is_cleared_has_no_quantiles() {
        let histogram = Histogram::default();
        histogram.record(7);
        histogram.clear();
        assert_eq!(histogram.quantile(0.5), 0);
    }
}
