//! Events that nobody wrote: the same for the same seed.

use eventhubs_types::EventData;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// What generated events are like.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Of each body, in bytes.
    pub(super) size: usize,
    /// How many different partition keys there are; none without.
    pub(super) keys: Option<u32>,
    pub(super) seed: u64,
}

impl Load {
    /// Events without end.
    pub(super) fn events(&self) -> impl Iterator<Item = EventData> + use<> {
        let Self { size, keys, seed } = *self;
        let mut rng = SmallRng::seed_from_u64(seed);
        std::iter::repeat_with(move || {
            let mut body = vec![0; size];
            rng.fill_bytes(&mut body);
            let event = EventData::new(body);
            match keys {
                Some(keys) => event.partition_key(format!("key-{}", rng.random_range(0..keys))),
                None => event,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_events() {
        let events = |seed| Load { size: 100, keys: Some(4), seed }.events().take(50).collect::<Vec<_>>();
        assert_eq!(events(7), events(7));
        assert_ne!(events(7), events(8));
    }

    #[test]
    fn size_and_keys_are_as_wanted() {
        let events: Vec<_> = Load { size: 33, keys: Some(3), seed: 1 }.events().take(100).collect();
        assert!(events.iter().all(|event| event.body.bytes().unwrap().len() == 33));
        let keys: BTreeSet<_> = events.iter().map(|event| event.partition_key.clone().unwrap()).collect();
        assert_eq!(keys.len(), 3);
        assert_eq!(Load { size: 1, keys: None, seed: 1 }.events().next().unwrap().partition_key, None);
    }
}
