//! A fingerprint of one run, by which two runs are compared.

use std::time::Duration;

/// A fingerprint of everything that the store was asked and answered: equal for equal runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    /// Takes note of one answer (FNV-1a, whose result is the same with every version of Rust).
    pub(crate) fn note(&mut self, at: Duration, words: [u64; 4]) {
        let millis = u64::try_from(at.as_millis()).expect("a scenario lasts days at most");
        for word in [millis].into_iter().chain(words) {
            for byte in word.to_le_bytes() {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }

    pub(crate) fn hash(self) -> u64 {
        self.0
    }
}
