//! The balancers of the official SDKs, modelled from docs/contract.md §8.2, §8.3 and §9.4.
//!
//! They judge a lease by their own wall clock against the time that the store wrote, and so does the model.
//! What they do not share with us is modelled; how they read events is not.

mod cycle;
mod rules;

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::Deserialize;

pub(crate) use cycle::{Skew, play};

/// Which balancer an instance runs; of the SDKs, with the strategy that they have by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// The balancer of this workspace.
    Ours,
    /// Greedy.
    Python,
    /// Balanced.
    JavaScript,
    /// Greedy.
    DotNet,
    /// Greedy.
    Java,
    /// Balanced.
    Go,
    /// Greedy.
    Rust,
}

impl Kind {
    /// All kinds, ours first.
    pub const ALL: [Self; 7] =
        [Self::Ours, Self::Python, Self::JavaScript, Self::DotNet, Self::Java, Self::Go, Self::Rust];

    /// The name in a scenario file and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::DotNet => "dotnet",
            Self::Java => "java",
            Self::Go => "go",
            Self::Rust => "rust",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it takes in one go all that it misses, where it can.
    fn is_greedy(self) -> bool {
        !matches!(self, Self::JavaScript | Self::Go)
    }

    /// Whether it begins the next cycle at once as long as it misses something.
    fn repeats_at_once(self) -> bool {
        matches!(self, Self::DotNet | Self::Java)
    }

    /// How many claims it has in flight (docs/contract.md §9.4).
    fn in_flight(self) -> usize {
        match self {
            Self::Python | Self::Java => 256,
            _ => 1,
        }
    }

    /// Whether an instance that stops gives its partitions back (docs/contract.md §8.7).
    fn releases(self) -> bool {
        self != Self::Rust
    }

    /// The pause after a cycle that took so long (docs/contract.md §8.2).
    fn pause(self, interval: Duration, elapsed: Duration, rng: &mut StdRng) -> Duration {
        match self {
            Self::Python => interval.mul_f64(rng.random_range(1.0..1.2)),
            Self::Go => interval.mul_f64(rng.random_range(0.8..1.3)),
            Self::JavaScript | Self::DotNet | Self::Java => interval.saturating_sub(elapsed),
            Self::Rust | Self::Ours => interval,
        }
    }
}
