//! The events of one partition that are under way at the same time: which may start, and up to where all are done.
//! Pure. The calls themselves are in `pump/keyed.rs`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Orders the events of a partition by key, and finds the lowest one that is not done.
///
/// An event may start when no earlier one of its key is under way or waits. Keys are given as hashes: two keys with the
/// same hash are only ordered among each other as well.
#[derive(Debug)]
pub(crate) struct Window<T> {
    /// From the lowest event that is not done.
    slots: VecDeque<Slot<T>>,
    /// The place of the first slot; places count up for as long as the window lives.
    base: u64,
    /// Of each key with an event that is not done, those that wait for the one under way.
    waiting: HashMap<u64, VecDeque<u64>>,
    /// May start, in the order in which they became able to.
    ready: VecDeque<u64>,
    /// No event beyond this place may start any more.
    end: Option<u64>,
    /// One beyond the highest place that ever started.
    started: u64,
}

#[derive(Debug)]
struct Slot<T> {
    item: T,
    key: Option<u64>,
    is_done: bool,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            base: 0,
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            end: None,
            started: 0,
        }
    }
}

impl<T> Window<T> {
    /// How many events are not done, or follow one that is not.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds the next event of the partition; without a key it waits for no other one.
    pub(crate) fn push(&mut self, item: T, key: Option<u64>) {
        let place = self.base + self.slots.len() as u64;
        self.slots.push_back(Slot { item, key, is_done: false });
        match key.map(|key| self.waiting.entry(key)) {
            Some(Entry::Occupied(mut queue)) => queue.get_mut().push_back(place),
            Some(Entry::Vacant(first)) => {
                first.insert(VecDeque::new());
                self.ready.push_back(place);
            }
            None => self.ready.push_back(place),
        }
    }

    /// Takes an event that may start.
    pub(crate) fn start(&mut self) -> Option<u64> {
        let place = self.ready.pop_front()?;
        self.started = self.started.max(place + 1);
        Some(place)
    }

    /// An event that was started is to start again, before others.
    pub(crate) fn again(&mut self, place: u64) {
        if self.end.is_none_or(|end| place < end) {
            self.ready.push_front(place);
        }
    }

    /// The event at a place that was started and is not done.
    pub(crate) fn get(&self, place: u64) -> Option<&T> {
        self.slots.get(index(place.checked_sub(self.base)?)?).map(|slot| &slot.item)
    }

    /// The lowest event that is not done, and whatever holds the rest if the window is full.
    pub(crate) fn first(&self) -> Option<&T> {
        self.slots.front().map(|slot| &slot.item)
    }

    /// An event is done. Calls back with each event, from the lowest on, that is done now together with all before it.
    pub(crate) fn done(&mut self, place: u64, mut passed: impl FnMut(T)) {
        let slot = place.checked_sub(self.base).and_then(index).and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot else { return };
        slot.is_done = true;
        if let Some(key) = slot.key {
            self.release(key);
        }
        while self.slots.front().is_some_and(|slot| slot.is_done) {
            if let Some(slot) = self.slots.pop_front() {
                self.base += 1;
                passed(slot.item);
            }
        }
    }

    /// The next event of a key may start.
    fn release(&mut self, key: u64) {
        let Some(queue) = self.waiting.get_mut(&key) else { return };
        match queue.pop_front() {
            Some(next) if self.end.is_none_or(|end| next < end) => self.ready.push_back(next),
            _ => drop(self.waiting.remove(&key)),
        }
    }

    /// Gives up all events beyond the highest that was started: what is left can then be done without a gap, and none
    /// of it comes again.
    pub(crate) fn close(&mut self) {
        let end = self.started.max(self.base);
        self.end = Some(end);
        self.slots.truncate(index(end - self.base).unwrap_or(usize::MAX));
        self.ready.retain(|place| *place < end);
    }

    /// Gives up all events that are not under way.
    pub(crate) fn abandon(&mut self) {
        self.end = Some(0);
        self.ready.clear();
    }
}

/// An index into the slots.
fn index(distance: u64) -> Option<usize> {
    usize::try_from(distance).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn window(keys: &[Option<u64>]) -> Window<usize> {
        let mut window = Window::default();
        for (number, key) in keys.iter().enumerate() {
            window.push(number, *key);
        }
        window
    }

    fn done(window: &mut Window<usize>, place: u64) -> Vec<usize> {
        let mut passed = Vec::new();
        window.done(place, |item| passed.push(item));
        passed
    }

    fn started(window: &mut Window<usize>) -> Vec<u64> {
        std::iter::from_fn(|| window.start()).collect()
    }

    #[test]
    fn an_event_waits_for_the_one_before_it_with_the_same_key() {
        let mut window = window(&[Some(1), Some(1), Some(2), None, None]);
        assert_eq!(started(&mut window), [0, 2, 3, 4]);
        assert_eq!(done(&mut window, 0), [0]);
        assert_eq!(started(&mut window), [1]);
        assert_eq!(window.first(), Some(&1));
        assert!(!window.is_empty());
    }

    #[test]
    fn only_what_has_nothing_undone_before_it_is_passed() {
        let mut window = window(&[None; 4]);
        assert_eq!(started(&mut window), [0, 1, 2, 3]);
        assert!(done(&mut window, 2).is_empty());
        assert!(done(&mut window, 1).is_empty());
        assert_eq!(done(&mut window, 0), [0, 1, 2]);
        assert_eq!((window.len(), window.first()), (1, Some(&3)));
        assert!(done(&mut window, 0).is_empty(), "a place that is gone");
        assert_eq!((window.get(2), window.get(3), window.get(4)), (None, Some(&3), None));
    }

    #[test]
    fn an_event_that_starts_again_comes_before_others() {
        let mut window = window(&[None; 3]);
        assert_eq!(window.start(), Some(0));
        window.again(0);
        assert_eq!(started(&mut window), [0, 1, 2]);
    }

    #[test]
    fn a_closed_window_ends_with_the_highest_event_that_was_started() {
        let mut window = window(&[Some(1), Some(1), None, None]);
        assert_eq!((window.start(), window.start()), (Some(0), Some(2)));
        window.close();
        assert_eq!(window.len(), 3);
        assert!(started(&mut window).is_empty());
        assert!(done(&mut window, 2).is_empty());
        assert_eq!(done(&mut window, 0), [0]);
        assert_eq!(started(&mut window), [1], "it would come again otherwise");
        assert_eq!(done(&mut window, 1), [1, 2]);
        assert!(window.is_empty());
    }

    #[test]
    fn the_first_event_beyond_the_end_of_a_closed_window_does_not_start() {
        let mut window = window(&[Some(1), Some(1)]);
        assert_eq!(window.start(), Some(0));
        window.close();
        window.again(0);
        assert_eq!(window.start(), Some(0), "it is within");
        assert_eq!(done(&mut window, 0), [0]);
        assert_eq!((window.start(), window.is_empty()), (None, true));
    }

    #[test]
    fn a_window_that_is_closed_before_anything_started_is_empty() {
        let mut window = window(&[Some(1), None]);
        window.close();
        assert!(window.is_empty());
        assert_eq!(window.start(), None);
    }

    #[test]
    fn nothing_starts_in_a_window_that_is_abandoned() {
        let mut window = window(&[Some(1), Some(1), None]);
        assert_eq!(window.start(), Some(0));
        window.abandon();
        window.again(0);
        assert_eq!(window.start(), None, "not even the one that failed");
        assert_eq!(done(&mut window, 0), [0]);
        assert_eq!(window.start(), None);
    }

    /// What the window says of itself must not depend on the order in which calls end.
    #[derive(Debug, Clone)]
    struct History {
        keys: Vec<Option<u64>>,
        /// Which of those under way ends next, as a number modulo how many there are.
        ends: Vec<usize>,
        /// Closed after this many ends.
        closes: usize,
    }

    fn histories() -> impl Strategy<Value = History> {
        let keys = prop::collection::vec(prop::option::weighted(0.9, 0..6_u64), 0..60);
        let ends = prop::collection::vec(any::<usize>(), 60);
        (keys, ends, 0..80_usize).prop_map(|(keys, ends, closes)| History { keys, ends, closes })
    }

    proptest! {
        #[test]
        fn order_by_key_is_kept_and_nothing_is_passed_too_early(history in histories()) {
            let mut window = window(&history.keys);
            let (mut running, mut finished) = (BTreeSet::new(), BTreeSet::new());
            let mut passed = Vec::new();
            for (turn, end) in history.ends.iter().enumerate() {
                if turn == history.closes {
                    window.close();
                }
                while running.len() < 4 {
                    let Some(place) = window.start() else { break };
                    let key = |place: u64| history.keys[index(place).unwrap()];
                    let of_key = |other: &u64| key(place).is_some() && key(*other) == key(place);
                    prop_assert!(!running.iter().any(of_key), "two of one key at once");
                    let before: Vec<_> = (0..place).filter(of_key).collect();
                    prop_assert!(before.iter().all(|other| finished.contains(other)), "out of order");
                    running.insert(place);
                }
                let Some(place) = running.iter().nth(end % running.len().max(1)).copied() else { break };
                running.remove(&place);
                finished.insert(place);
                window.done(place, |number| passed.push(number as u64));
                let prefix = (0..60).take_while(|place| finished.contains(place)).count();
                prop_assert_eq!(passed.len(), prefix);
                prop_assert_eq!(&passed, &(0..prefix as u64).collect::<Vec<_>>());
            }
            if history.closes >= history.ends.len() {
                prop_assert_eq!(passed.len(), history.keys.len(), "everything is done in the end");
            } else if history.closes <= history.keys.len() {
                prop_assert!(window.is_empty(), "a closed window is emptied");
            }
        }
    }
}
