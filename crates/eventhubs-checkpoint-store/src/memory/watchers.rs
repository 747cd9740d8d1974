//! Those who watch a store in memory: each has a channel of its own.

use eventhubs_types::ConsumerScope;
use futures_channel::mpsc::{Receiver, Sender, channel};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use crate::Hint;

/// How many hints wait for one watcher that does not read; it misses those that come on top.
pub(super) const MAX_UNREAD: usize = 64;

/// The open channels. One that nobody reads any more is forgotten with the next call.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Watcher>);

#[derive(Debug)]
struct Watcher {
    scope: ConsumerScope,
    sender: Sender<Hint>,
}

impl Watchers {
    /// Opens a channel for the hints of a scope in lower case.
    pub(super) fn watch(&mut self, scope: ConsumerScope) -> BoxStream<'static, Hint> {
        self.0.retain(|watcher| !watcher.sender.is_closed());
        // A sender has one place of its own in addition to the buffer.
        let (sender, hints): (_, Receiver<_>) = channel(MAX_UNREAD - 1);
        self.0.push(Watcher { scope, sender });
        // The channel ends with the store, but nobody who waits for hints may take that for news.
        hints.chain(stream::pending()).boxed()
    }

    pub(super) fn announce(&mut self, scope: &ConsumerScope, hint: &Hint) {
        self.0.retain_mut(|watcher| {
            if watcher.scope == *scope {
                // A hint too many is missed, which the contract allows; a claim must not wait for a reader.
                let _missed_when_full = watcher.sender.try_send(hint.clone());
            }
            !watcher.sender.is_closed()
        });
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_types::PartitionId;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::Audience;

    fn scope() -> ConsumerScope {
        ConsumerScope::new("ns".parse().unwrap(), "hub".parse().unwrap(), "group".parse().unwrap())
    }

    fn hint(number: usize) -> Hint {
        Hint::new(PartitionId::new(number.to_string()).unwrap(), Audience::Everyone)
    }

    #[test]
    fn a_watcher_that_does_not_read_misses_the_last_hints() {
        let mut watchers = Watchers::default();
        let mut hints = watchers.watch(scope());
        for number in 0..MAX_UNREAD + 10 {
            watchers.announce(&scope(), &hint(number));
        }
        for number in 0..MAX_UNREAD {
            assert_eq!(hints.next().now_or_never(), Some(Some(hint(number))));
        }
        assert_eq!(hints.next().now_or_never(), None);
    }

    #[test]
    fn a_watcher_that_is_dropped_is_forgotten() {
        let mut watchers = Watchers::default();
        drop(watchers.watch(scope()));
        watchers.announce(&scope(), &hint(0));
        assert_eq!(watchers.0.len(), 0);
    }

    #[test]
    fn a_watch_outlives_the_store_in_silence() {
        let mut watchers = Watchers::default();
        let mut hints = watchers.watch(scope());
        drop(watchers);
        assert_eq!(hints.next().now_or_never(), None);
    }
}
