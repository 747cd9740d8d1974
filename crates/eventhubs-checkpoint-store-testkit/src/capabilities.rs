//! What a store says that it can do beyond the required methods.

/// What the suite holds a store to. The contract leaves some of it open, and a store names what it lacks.
///
/// What is taken away is not skipped: the suite then checks that the store has the default instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate promise of a store")]
pub struct Capabilities {
    pub(crate) is_durable: bool,
    pub(crate) has_fence: bool,
    pub(crate) has_watch: bool,
    pub(crate) has_deletion: bool,
    pub(crate) racing_rounds: usize,
}

impl Capabilities {
    /// How many rounds the races have by default: below a minute for a store that is 20 ms away.
    pub const DEFAULT_RACING_ROUNDS: usize = 20;

    /// All of them.
    pub fn all() -> Self {
        Self {
            is_durable: true,
            has_fence: true,
            has_watch: true,
            has_deletion: true,
            racing_rounds: Self::DEFAULT_RACING_ROUNDS,
        }
    }

    /// The records are gone after a restart of the process.
    #[must_use]
    pub fn without_durability(mut self) -> Self {
        self.is_durable = false;
        self
    }

    /// `fence` is the default: it reads the checkpoint and gives no token.
    #[must_use]
    pub fn without_fence(mut self) -> Self {
        self.has_fence = false;
        self
    }

    /// `watch` is the default: it is silent.
    #[must_use]
    pub fn without_watch(mut self) -> Self {
        self.has_watch = false;
        self
    }

    /// `delete_checkpoint`, `delete_ownership` and `list_scopes` are
    /// [`Unsupported`](eventhubs_checkpoint_store::ErrorKind::Unsupported).
    #[must_use]
    pub fn without_deletion(mut self) -> Self {
        self.has_deletion = false;
        self
    }

    /// How many rounds each race has, 64 racers each. Default:
    /// [`DEFAULT_RACING_ROUNDS`](Self::DEFAULT_RACING_ROUNDS); a local store can afford thousands within
    /// [`TIME_LIMIT`](crate::TIME_LIMIT).
    #[must_use]
    pub fn racing_rounds(mut self, rounds: usize) -> Self {
        self.racing_rounds = rounds;
        self
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::all()
    }
}
