//! How many events of one partition may be handled at once, and which wait for each other.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use eventhubs_amqp::ReceivedEvent;

/// How many events may be under way or done beyond the lowest one that is not done, unless it is set.
const MAX_AHEAD: usize = 1_000;

type KeyHash = Box<dyn Fn(&ReceivedEvent) -> u64 + Send + Sync>;

/// How the events of one partition are handled at once.
pub(crate) struct Concurrency {
    /// The most calls at once, per partition.
    pub(crate) calls: usize,
    pub(crate) max_ahead: usize,
    order: KeyOrder,
}

enum KeyOrder {
    /// The user has not said.
    Unknown,
    /// Events with the same hash are handled one after the other.
    ByKey(KeyHash),
    Unordered,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { calls: 1, max_ahead: MAX_AHEAD, order: KeyOrder::Unknown }
    }
}

impl Concurrency {
    /// Whether more than one call may be under way.
    pub(crate) fn is_used(&self) -> bool {
        self.calls > 1
    }

    pub(crate) fn keyed_by<K: Hash>(&mut self, key: impl Fn(&ReceivedEvent) -> K + Send + Sync + 'static) {
        self.order = KeyOrder::ByKey(Box::new(move |event| {
            // Without a random state: an order that is the same in each run is easier to debug.
            let mut hasher = DefaultHasher::new();
            key(event).hash(&mut hasher);
            hasher.finish()
        }));
    }

    pub(crate) fn unordered(&mut self) {
        self.order = KeyOrder::Unordered;
    }

    /// What orders an event among others; `None` if nothing does.
    pub(crate) fn key(&self, event: &ReceivedEvent) -> Option<u64> {
        match &self.order {
            KeyOrder::ByKey(hash) => Some(hash(event)),
            KeyOrder::Unordered | KeyOrder::Unknown => None,
        }
    }

    /// What cannot be used as it is, if anything.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        match self {
            Self { calls: 0, .. } => Some("concurrency must be more than zero"),
            Self { max_ahead: 0, .. } => Some("max_ahead must be more than zero"),
            Self { calls: 2.., order: KeyOrder::Unknown, .. } => {
                Some("concurrency: say which events are kept in order, by keyed_by(…) or by unordered()")
            }
            Self { calls: 1, order: KeyOrder::ByKey(_) | KeyOrder::Unordered, .. } => {
                Some("keyed_by and unordered have an effect only with a concurrency of more than one")
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match &self.order {
            KeyOrder::Unknown => "unknown",
            KeyOrder::ByKey(_) => "by key",
            KeyOrder::Unordered => "unordered",
        };
        f.debug_struct("Concurrency")
            .field("calls", &self.calls)
            .field("max_ahead", &self.max_ahead)
            .field("order", &order)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_types::EventData;

    use super::*;

    fn event(key: &str) -> ReceivedEvent {
        let mut data = EventData::new("");
        data.partition_key = Some(key.to_owned());
        ReceivedEvent::from_parts(data, "0", 0, None)
    }

    #[test]
    fn events_with_the_same_key_are_in_order_and_others_are_not() {
        let mut concurrency = Concurrency { calls: 2, ..Concurrency::default() };
        assert_eq!(concurrency.key(&event("a")), None);
        concurrency.keyed_by(|event| event.partition_key().map(str::to_owned));
        assert_eq!(concurrency.key(&event("a")), concurrency.key(&event("a")));
        assert_ne!(concurrency.key(&event("a")), concurrency.key(&event("b")));
    }

    #[test]
    fn several_calls_at_once_need_a_word_about_their_order() {
        let of = |calls, is_said| {
            let mut concurrency = Concurrency { calls, ..Concurrency::default() };
            if is_said {
                concurrency.unordered();
            }
            concurrency.mistake().map(|text| text.split([' ', ':']).next().unwrap_or(text))
        };
        assert_eq!((of(1, false), of(2, true)), (None, None));
        assert_eq!((of(0, false), of(2, false)), (Some("concurrency"), Some("concurrency")));
        assert_eq!(of(1, true), Some("keyed_by"));
        let unlimited = Concurrency { max_ahead: 0, ..Concurrency::default() };
        assert_eq!(unlimited.mistake(), Some("max_ahead must be more than zero"));
    }
}
