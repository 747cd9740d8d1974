//! The link credit of a tapped link: what was granted, what is used, and when to grant more. Pure.
//!
//! The rule of all of it: what is outstanding and what is buffered together never exceed the prefetch, in
//! events exactly, in bytes as far as the sizes of the last messages tell. A reader that has nothing is
//! always granted one event.
//!
//! Tests: below.

/// How large a message is taken to be before one has come, in bytes: the most that the service allows by
/// default.
const FIRST_GUESS: usize = 1024 * 1024;

/// What may be sent ahead of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefetch {
    pub(crate) events: u32,
    pub(crate) bytes: usize,
}

/// What has come and waits for the reader, and the bytes of what it holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Buffered {
    pub(crate) events: u32,
    pub(crate) bytes: usize,
}

/// The credit of one link, by the rules of `docs/contract.md` §5.5.
#[derive(Debug)]
pub(crate) struct Credit {
    /// How many deliveries the sender has begun to send; a serial number that wraps.
    delivery_count: u32,
    /// How many more it may send, by the last flow.
    outstanding: u32,
    /// What was granted and taken back. The sender may have used it before it learnt of that, so a delivery
    /// beyond the outstanding credit is its fault only once this is used up too. Falls again with each new
    /// grant.
    withdrawn: u32,
    prefetch: Prefetch,
    /// How large the next messages are taken to be, in bytes: a maximum that decays.
    size: usize,
}

impl Credit {
    pub(crate) fn new(prefetch: Prefetch) -> Self {
        Self { delivery_count: 0, outstanding: 0, withdrawn: 0, prefetch, size: FIRST_GUESS }
    }

    /// The sender counts from here.
    pub(crate) fn begin(&mut self, initial_delivery_count: u32) {
        self.delivery_count = initial_delivery_count;
    }

    /// A delivery of this size came; `false` if it was never allowed.
    pub(crate) fn use_one(&mut self, size: usize) -> bool {
        let left = if self.outstanding > 0 { &mut self.outstanding } else { &mut self.withdrawn };
        let Some(less) = left.checked_sub(1) else { return false };
        *left = less;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        // Growth is believed at once, since it costs memory; the contrary by an eighth at a time, so that one
        // small message among large ones does not let a prefetch of large ones in.
        self.size = size.max(self.size - self.size / 8);
        true
    }

    /// Tops up once half is used: outstanding and buffered together never exceed the prefetch. Whether there
    /// is more than before.
    pub(crate) fn top_up(&mut self, buffered: Buffered) -> bool {
        let room = self.room(buffered);
        // At half, so that one flow grants many events and still goes out before the sender runs dry.
        let due = room > self.outstanding
            && self.outstanding + buffered.events <= u32::midpoint(room, buffered.events);
        if due {
            self.withdrawn = self.withdrawn.saturating_sub(room - self.outstanding);
            self.outstanding = room;
            self.check(buffered);
        }
        due
    }

    /// Takes credit back when messages are larger than those for which it was granted. Whether there is less
    /// than before.
    pub(crate) fn withdraw(&mut self, buffered: Buffered) -> bool {
        let room = self.room(buffered);
        // Not for a few events more or less: sizes vary, and each change costs a flow.
        let due = self.outstanding > room + room / 4;
        if due {
            self.withdrawn += self.outstanding - room;
            self.outstanding = room;
            self.check(buffered);
        }
        due
    }

    /// How many bytes the reader may hold, so that others can be sent ahead meanwhile.
    pub(crate) fn most_held(&self) -> usize {
        self.prefetch.bytes / 2
    }

    /// How many more messages may wait for the reader; one at least if there is none, whatever its size.
    fn room(&self, buffered: Buffered) -> u32 {
        let by_bytes = self.prefetch.bytes.saturating_sub(buffered.bytes) / self.size.max(1);
        let by_events = self.prefetch.events.saturating_sub(buffered.events);
        let room = u32::try_from(by_bytes).unwrap_or(u32::MAX).min(by_events);
        // Else a message above the limit would never be sent, and its partition would stand still.
        if buffered.events == 0 && buffered.bytes == 0 { room.max(1) } else { room }
    }

    fn check(&self, buffered: Buffered) {
        let most = self.prefetch.events.max(buffered.events).max(1);
        debug_assert!(self.outstanding + buffered.events <= most, "{self:?} with {buffered:?}");
    }

    pub(crate) fn delivery_count(&self) -> u32 {
        self.delivery_count
    }

    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credit(events: u32) -> Credit {
        Credit::new(Prefetch { events, bytes: 1 << 40 })
    }

    fn buffered(events: u32) -> Buffered {
        Buffered { events, bytes: 0 }
    }

    #[test]
    fn what_is_outstanding_and_what_is_buffered_never_exceed_the_prefetch() {
        let mut credit = credit(10);
        assert!(credit.top_up(buffered(0)));
        assert_eq!(credit.outstanding(), 10);
        for _ in 0..10 {
            assert!(credit.use_one(100));
        }
        assert!(!credit.use_one(100), "more than was granted");
        for events in (6..=10).rev() {
            assert!(!credit.top_up(buffered(events)), "{events} are buffered");
        }
        assert!(credit.top_up(buffered(5)));
        assert_eq!(credit.outstanding(), 5);
        assert!(!credit.top_up(buffered(5)), "granted already");
    }

    #[test]
    fn the_delivery_count_begins_where_the_sender_says_and_wraps() {
        let mut credit = credit(4);
        credit.begin(u32::MAX - 1);
        credit.top_up(buffered(0));
        for _ in 0..3 {
            credit.use_one(100);
        }
        assert_eq!((credit.delivery_count(), credit.outstanding()), (1, 1));
    }

    #[test]
    fn small_messages_get_more_credit_and_large_ones_less_again() {
        let mut credit = Credit::new(Prefetch { events: 300, bytes: 8 * FIRST_GUESS });
        assert!(credit.top_up(Buffered::default()));
        assert_eq!(credit.outstanding(), 8);
        for _ in 0..50 {
            assert!(credit.use_one(1_000));
            credit.top_up(Buffered::default());
        }
        assert!((151..=300).contains(&credit.outstanding()), "{credit:?}");
        let granted = credit.outstanding();
        assert!(credit.use_one(FIRST_GUESS));
        assert!(credit.withdraw(Buffered { events: 1, bytes: FIRST_GUESS }));
        assert_eq!(credit.outstanding(), 7);
        for _ in 1..granted {
            assert!(credit.use_one(FIRST_GUESS), "what was under way is no mistake of the sender");
        }
        assert!(!credit.use_one(FIRST_GUESS));
        assert!(!credit.top_up(Buffered { events: granted, bytes: 300 * FIRST_GUESS }));
        assert!(credit.top_up(Buffered::default()));
        assert_eq!(credit.outstanding(), 8);
    }

    #[test]
    fn a_message_larger_than_the_budget_gets_through() {
        let mut credit = Credit::new(Prefetch { events: 300, bytes: 1_000 });
        for _ in 0..3 {
            assert!(credit.top_up(Buffered::default()));
            assert_eq!(credit.outstanding(), 1);
            assert!(credit.use_one(5_000));
            assert!(!credit.top_up(Buffered { events: 1, bytes: 5_000 }));
        }
    }

    proptest! {
        /// Sizes by turns, and how many events the reader takes after each.
        #[test]
        fn the_sender_is_never_told_more_than_the_budget_holds(turns in prop::collection::vec((0_usize..50_000, 0_usize..5), 1..300)) {
            let prefetch = Prefetch { events: 50, bytes: 500_000 };
            let (mut credit, mut queue) = (Credit::new(prefetch), std::collections::VecDeque::new());
            for (size, taken) in turns {
                let sizes: usize = queue.iter().sum();
                let buffered = Buffered { events: u32::try_from(queue.len()).unwrap(), bytes: sizes };
                credit.top_up(buffered);
                credit.withdraw(buffered);
                prop_assert!(credit.outstanding() + buffered.events <= prefetch.events);
                prop_assert!(!queue.is_empty() || credit.outstanding() > 0, "a reader without events gets more");
                if credit.use_one(size) {
                    queue.push_back(size);
                }
                queue.drain(..taken.min(queue.len()));
            }
        }
    }
}
