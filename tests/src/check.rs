//! Whether instances kept the promises of the README, by what they recorded. Pure.
//!
//! Nothing may be lost or changed. Events come in the order of their key, and of their partition where they are handled
//! one at a time. No checkpoint is ahead of what is done. What comes again is beyond the checkpoint that reading resumed
//! at, and was not handled by a reader that ended cleanly before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{Deed, Line};

/// What was published to each partition, in order.
pub type Published = Vec<Vec<Sent>>;

/// An event that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Events of one key are in order.
    pub key: u32,
    /// The digest of the body.
    pub body: u64,
}

/// An event that a sink of dead letters holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter {
    /// The partition.
    pub partition: usize,
    /// The sequence number.
    pub number: usize,
    /// The digest of the body.
    pub body: u64,
}

/// How many of what there were, and what must not have been.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Events that were handled, each once.
    pub handled: usize,
    /// Events that came again although they were done, each time.
    pub repeated: usize,
    /// Events in the sinks that were not handled.
    pub dead_lettered: usize,
    /// Calls that failed.
    pub failed: usize,
    /// Times that an instance began to read a partition.
    pub openings: usize,
    /// Broken promises.
    pub broken: Vec<Broken>,
}

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// In which partition.
    pub partition: usize,
    /// The event, by its sequence number.
    pub number: usize,
}

/// What the README promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Every event is handled or a dead letter.
    NoneLost,
    /// Each event is what was published.
    NoneChanged,
    /// An event comes after those before it, of its key or of its partition.
    InOrder,
    /// An event comes again only when it is beyond the checkpoint and its reader did not end cleanly.
    NoneRepeated,
    /// A checkpoint passes an event only when it is done.
    NoneSkipped,
}

/// Checks what was recorded until now. An event that is not done yet counts as lost.
pub fn check(published: &Published, lines: &[Line], letters: &[Letter]) -> Findings {
    let mut findings = Findings::default();
    for (partition, sent) in published.iter().enumerate() {
        let mut history = History::new(partition, sent);
        for (time, line) in lines.iter().enumerate().filter(|(_, line)| line.partition == partition) {
            history.add(time, line);
        }
        history.end(letters.iter().filter(|letter| letter.partition == partition), &mut findings);
    }
    findings
}

/// One partition, up to some line.
struct History<'a> {
    partition: usize,
    sent: &'a [Sent],
    /// The event before each one with the same key.
    before: Vec<Option<usize>>,
    /// Which reader was the last to be done with each event.
    done: Vec<Option<usize>>,
    handled: BTreeSet<usize>,
    /// All events before this one are done.
    all_done: usize,
    /// One beyond the checkpoint in the store.
    checkpoint: usize,
    /// The instances whose last write was not answered, or not well.
    unanswered: BTreeSet<u32>,
    /// What each instance saw when it looked last: the time, and one beyond the checkpoint.
    looks: HashMap<u32, (usize, usize)>,
    readers: Vec<Reader>,
    /// The last reader of each instance.
    current: HashMap<u32, usize>,
    findings: Findings,
}

/// One time that an instance reads the partition.
struct Reader {
    is_in_order: bool,
    looked: usize,
    /// One beyond the checkpoint that it resumes at.
    start: usize,
    /// The last event of each key; of all keys where all are in order.
    last: BTreeMap<Option<u32>, usize>,
    failing: BTreeSet<usize>,
    is_clean: bool,
    /// When others were let in after a clean end.
    ended: Option<usize>,
}

impl<'a> History<'a> {
    fn new(partition: usize, sent: &'a [Sent]) -> Self {
        let mut last = HashMap::new();
        let before = sent.iter().enumerate().map(|(number, sent)| last.insert(sent.key, number)).collect();
        Self {
            partition,
            sent,
            before,
            done: vec![None; sent.len()],
            handled: BTreeSet::new(),
            all_done: 0,
            checkpoint: 0,
            unanswered: BTreeSet::new(),
            looks: HashMap::new(),
            readers: Vec::new(),
            current: HashMap::new(),
            findings: Findings::default(),
        }
    }

    fn add(&mut self, time: usize, line: &Line) {
        let reader = self.current.get(&line.instance).copied();
        match (line.deed, reader) {
            (Deed::Looks, _) => drop(self.looks.insert(line.instance, (time, self.checkpoint))),
            (Deed::Opened { is_in_order }, _) => self.open(line.instance, is_in_order),
            (Deed::Writes, _) => drop(self.unanswered.insert(line.instance)),
            (Deed::Refused, _) => drop(self.unanswered.remove(&line.instance)),
            (Deed::Checkpoint { number }, _) => {
                self.unanswered.remove(&line.instance);
                self.pass(number);
            }
            (Deed::Handled { number, body }, Some(reader)) => self.handle(reader, number, body),
            (Deed::DeadLettered { number }, Some(reader)) => self.settle(reader, number),
            (Deed::Failed { number }, Some(reader)) => {
                self.findings.failed += 1;
                self.readers[reader].failing.insert(number);
            }
            (Deed::Closed { is_clean }, Some(reader)) => {
                let reader = &mut self.readers[reader];
                // What was done beyond an event that fails comes again with it.
                reader.is_clean = is_clean && reader.failing.is_empty();
            }
            (Deed::Releases, Some(reader)) => {
                // An owner lets others in while its last write is not answered only if its lease has ended meanwhile.
                let is_clean = !self.unanswered.contains(&line.instance);
                let reader = &mut self.readers[reader];
                reader.is_clean &= is_clean;
                reader.ended = reader.ended.or(reader.is_clean.then_some(time));
            }
            (Deed::Handled { number, .. } | Deed::DeadLettered { number }, None) => {
                self.broken(Promise::InOrder, number);
            }
            (Deed::Failed { .. } | Deed::Closed { .. } | Deed::Releases, None) => {}
        }
    }

    fn open(&mut self, instance: u32, is_in_order: bool) {
        let (looked, start) = self.looks.get(&instance).copied().unwrap_or_default();
        self.findings.openings += 1;
        self.current.insert(instance, self.readers.len());
        self.readers.push(Reader {
            is_in_order,
            looked,
            start,
            last: BTreeMap::new(),
            failing: BTreeSet::new(),
            is_clean: false,
            ended: None,
        });
    }

    fn pass(&mut self, number: usize) {
        if number >= self.all_done {
            self.broken(Promise::NoneSkipped, self.all_done);
        }
        self.checkpoint = self.checkpoint.max(number + 1);
    }

    fn handle(&mut self, reader: usize, number: usize, body: u64) {
        if self.sent.get(number).is_none_or(|sent| sent.body != body) {
            return self.broken(Promise::NoneChanged, number);
        }
        self.handled.insert(number);
        self.settle(reader, number);
    }

    /// An event is done, by the callback or by a sink.
    fn settle(&mut self, reader: usize, number: usize) {
        if number >= self.sent.len() {
            return self.broken(Promise::NoneChanged, number);
        }
        if !self.is_in_order(reader, number) {
            self.broken(Promise::InOrder, number);
        }
        if let Some(earlier) = self.done[number].replace(reader) {
            self.findings.repeated += 1;
            if !self.may_repeat(earlier, reader, number) {
                self.broken(Promise::NoneRepeated, number);
            }
        }
        self.readers[reader].failing.remove(&number);
        while self.done.get(self.all_done).is_some_and(Option::is_some) {
            self.all_done += 1;
        }
    }

    /// Whether all events before it are done, and none after it is by the same reader.
    fn is_in_order(&mut self, reader: usize, number: usize) -> bool {
        let is_in_order = self.readers[reader].is_in_order;
        let are_done = if is_in_order {
            number <= self.all_done
        } else {
            self.before[number].is_none_or(|before| self.done[before].is_some())
        };
        let key = (!is_in_order).then_some(self.sent[number].key);
        let last = self.readers[reader].last.insert(key, number);
        are_done && last.is_none_or(|last| last <= number)
    }

    fn may_repeat(&self, earlier: usize, reader: usize, number: usize) -> bool {
        let (earlier_reader, now) = (&self.readers[earlier], &self.readers[reader]);
        let is_after_clean_end = earlier_reader.ended.is_some_and(|ended| ended < now.looked);
        earlier != reader && number >= now.start && !is_after_clean_end
    }

    fn end<'l>(mut self, letters: impl Iterator<Item = &'l Letter>, findings: &mut Findings) {
        let mut dead = BTreeSet::new();
        for letter in letters {
            match self.sent.get(letter.number) {
                Some(sent) if sent.body == letter.body => drop(dead.insert(letter.number)),
                _ => self.broken(Promise::NoneChanged, letter.number),
            }
        }
        let lost =
            (0..self.sent.len()).filter(|number| !self.handled.contains(number) && !dead.contains(number));
        for number in lost.collect::<Vec<_>>() {
            self.broken(Promise::NoneLost, number);
        }
        findings.handled += self.handled.len();
        findings.dead_lettered += dead.difference(&self.handled).count();
        findings.repeated += self.findings.repeated;
        findings.failed += self.findings.failed;
        findings.openings += self.findings.openings;
        findings.broken.append(&mut self.findings.broken);
    }

    fn broken(&mut self, promise: Promise, number: usize) {
        self.findings.broken.push(Broken { promise, partition: self.partition, number });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: [Sent; 6] = [sent(1, 0), sent(2, 1), sent(1, 2), sent(2, 3), sent(1, 4), sent(2, 5)];

    const fn sent(key: u32, body: u64) -> Sent {
        Sent { key, body }
    }

    fn by(instance: u32, deeds: impl IntoIterator<Item = Deed>) -> Vec<Line> {
        deeds.into_iter().map(|deed| Line { instance, partition: 0, deed }).collect()
    }

    fn handled(number: usize) -> Deed {
        Deed::Handled { number, body: number as u64 }
    }

    fn opened(is_in_order: bool) -> [Deed; 2] {
        [Deed::Looks, Deed::Opened { is_in_order }]
    }

    /// Two instances, one of which hands over to the other by the rules; the third event is a dead letter.
    fn lines() -> Vec<Line> {
        let end = [Deed::Closed { is_clean: true }, Deed::Checkpoint { number: 3 }, Deed::Releases];
        let failed = [Deed::Failed { number: 2 }, Deed::DeadLettered { number: 2 }];
        let first = opened(false).into_iter().chain([handled(1), handled(0), handled(3)]);
        let second = opened(true).into_iter().chain([handled(4), handled(5)]);
        [by(1, first.chain(failed).chain(end)), by(2, second)].concat()
    }

    const LETTER: Letter = Letter { partition: 0, number: 2, body: 2 };

    fn broken(lines: &[Line]) -> Vec<(Promise, usize)> {
        let findings = check(&vec![SENT.to_vec()], lines, &[LETTER]);
        findings.broken.iter().map(|broken| (broken.promise, broken.number)).collect()
    }

    fn find(lines: &[Line], deed: Deed) -> usize {
        lines.iter().position(|line| line.deed == deed).expect("it is recorded")
    }

    #[test]
    fn a_run_by_the_rules_breaks_no_promise() {
        let findings = check(&vec![SENT.to_vec()], &lines(), &[LETTER]);
        let expected =
            Findings { handled: 5, dead_lettered: 1, failed: 1, openings: 2, ..Findings::default() };
        assert_eq!(findings, expected);
    }

    #[test]
    fn a_lost_event_is_found() {
        let mut lines = lines();
        lines.remove(find(&lines, handled(5)));
        assert_eq!(broken(&lines), [(Promise::NoneLost, 5)]);
        let findings = check(&vec![SENT.to_vec()], &self::lines(), &[]);
        assert_eq!(findings.broken[0].promise, Promise::NoneLost, "a letter that no sink has: {findings:?}");
    }

    #[test]
    fn an_event_that_comes_twice_is_found() {
        let repeated = |at, instance, number| {
            let mut lines = lines();
            lines.insert(at, by(instance, [handled(number)])[0]);
            broken(&lines)
        };
        assert_eq!(repeated(5, 1, 3), [(Promise::NoneRepeated, 3)], "by one reader");
        let end = lines().len();
        assert_eq!(repeated(end, 2, 5), [(Promise::NoneRepeated, 5)]);
        let first_of_second = end - 2;
        assert_eq!(repeated(first_of_second, 2, 3), [(Promise::NoneRepeated, 3)], "after a clean end");
    }

    #[test]
    fn an_event_before_those_before_it_is_found() {
        let mut in_partition = lines();
        let end = in_partition.len();
        in_partition.swap(end - 1, end - 2);
        assert_eq!(broken(&in_partition), [(Promise::InOrder, 5), (Promise::InOrder, 4)]);
        let mut in_key = lines();
        let (one, three) = (find(&in_key, handled(1)), find(&in_key, handled(3)));
        in_key.swap(one, three);
        assert_eq!(broken(&in_key), [(Promise::InOrder, 3), (Promise::InOrder, 1)]);
    }

    #[test]
    fn an_event_that_was_changed_is_found() {
        let mut lines = lines();
        let at = find(&lines, handled(5));
        lines[at].deed = Deed::Handled { number: 5, body: 7 };
        assert!(broken(&lines).contains(&(Promise::NoneChanged, 5)));
        let letter = Letter { body: 7, ..LETTER };
        let findings = check(&vec![SENT.to_vec()], &self::lines(), &[letter]);
        assert_eq!(findings.broken[0].promise, Promise::NoneChanged, "a letter: {findings:?}");
    }

    #[test]
    fn a_checkpoint_ahead_of_an_event_that_is_not_done_is_found() {
        let mut lines = lines();
        lines.remove(find(&lines, Deed::DeadLettered { number: 2 }));
        assert!(broken(&lines).contains(&(Promise::NoneSkipped, 2)));
    }

    /// After a kill, what is beyond the checkpoint may come again, and nothing else.
    #[test]
    fn only_what_is_beyond_the_checkpoint_may_come_again_after_a_kill() {
        let killed = |resumed_at| {
            let sent: Vec<_> = SENT[..4].to_vec();
            let first = opened(true).into_iter().chain((0..3).map(handled));
            let first = first.chain([Deed::Checkpoint { number: 1 }]);
            let second = opened(true).into_iter().chain((resumed_at..4).map(handled));
            check(&vec![sent], &[by(1, first), by(2, second)].concat(), &[])
        };
        let findings = killed(2);
        assert_eq!((findings.repeated, findings.broken), (1, vec![]));
        let number = 1;
        assert_eq!(killed(1).broken, [Broken { promise: Promise::NoneRepeated, partition: 0, number }]);
    }

    #[test]
    fn what_a_reader_that_was_cut_off_has_done_may_come_again() {
        let mut lines = lines();
        let looks = lines.remove(lines.len() - 4);
        let closed = find(&lines, Deed::Closed { is_clean: true });
        lines.insert(closed, looks);
        lines.insert(lines.len() - 2, by(2, [handled(3)])[0]);
        assert_eq!(broken(&lines), []);
    }

    #[test]
    fn what_a_reader_could_not_write_in_its_lease_may_come_again() {
        let closed = [Deed::Closed { is_clean: true }, Deed::Writes];
        let answered = [Deed::Closed { is_clean: true }, Deed::Writes, Deed::Refused];
        let again = |end: &[Deed]| {
            let first = opened(true).into_iter().chain([handled(0), handled(1), handled(2)]);
            let first = first.chain(end.iter().copied()).chain([Deed::Releases]);
            let second = opened(true).into_iter().chain((2..6).map(handled));
            broken(&[by(1, first), by(2, second)].concat())
        };
        assert_eq!(again(&closed), []);
        assert_eq!(again(&answered), [(Promise::NoneRepeated, 2)]);
    }

    #[test]
    fn what_is_done_beyond_an_event_that_fails_may_come_again() {
        let ended = [Deed::Failed { number: 1 }, Deed::Closed { is_clean: true }, Deed::Releases];
        let first = opened(false).into_iter().chain([handled(0), handled(2)]).chain(ended);
        let second = opened(true).into_iter().chain((0..6).map(handled));
        let lines = [by(1, first), by(2, second)].concat();
        assert_eq!(broken(&lines), []);
        let without_failure: Vec<_> =
            lines.into_iter().filter(|line| line.deed != Deed::Failed { number: 1 }).collect();
        assert_eq!(broken(&without_failure), [(Promise::NoneRepeated, 0), (Promise::NoneRepeated, 2)]);
    }
}
