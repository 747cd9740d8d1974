//! What really happened: who wrote which record, who reads which partition, and how often the store was
//! asked.
//!
//! It sees everything at once, which no instance can. Nothing that plays is told by it but that its link was
//! stolen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::claim::{InstanceId, PartitionIndex, Write};
use crate::history::History;
use crate::trace::Trace;

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) history: History,
    pub(crate) trace: Trace,
    started: Instant,
    partitions: Vec<Partition>,
    instances: Vec<Instance>,
    /// Requests in each second since the start.
    requests: Vec<u32>,
    /// Since when all partitions are owned in fair shares.
    fair_since: Option<Instant>,
    /// When something last happened to the fleet or the store.
    disturbed: Instant,
    last_move: Option<Instant>,
    measured: Measured,
}

/// What is counted while it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) since: Instant,
    pub(crate) conflicts: u32,
    pub(crate) moves: u32,
    /// The moves that it took at least, up to the last disturbance.
    needed: u32,
    pub(crate) longest_unread: Duration,
}

#[derive(Debug, Clone)]
struct Partition {
    owner: Option<InstanceId>,
    /// The owner before, where the record is released.
    last_owner: Option<InstanceId>,
    reader: Option<InstanceId>,
    unread_since: Instant,
}

#[derive(Debug, Default)]
struct Instance {
    is_live: bool,
    owned: usize,
    /// What it owned at the last disturbance.
    owned_before: usize,
    stolen: BTreeSet<PartitionIndex>,
    theft_signal: Arc<Notify>,
}

impl Ledger {
    pub(crate) fn new(partitions: usize, now: Instant) -> Self {
        let partition = Partition { owner: None, last_owner: None, reader: None, unread_since: now };
        Self {
            history: History::new(partitions),
            trace: Trace::default(),
            started: now,
            partitions: vec![partition; partitions],
            instances: Vec::new(),
            requests: Vec::new(),
            fair_since: None,
            disturbed: now,
            last_move: None,
            measured: Measured::since(now),
        }
    }

    /// Everything before this counts no more.
    pub(crate) fn begin_to_measure(&mut self, now: Instant) {
        self.disturb(now);
        self.measured = Measured::since(now);
    }

    /// Something happens to the fleet or the store: from here on it takes time to be fair again.
    pub(crate) fn disturb(&mut self, now: Instant) {
        // Summed at each disturbance, since the shares that are fair afterwards are other ones.
        self.measured.needed += self.gained();
        for instance in &mut self.instances {
            instance.owned_before = instance.owned;
        }
        self.disturbed = now;
    }

    pub(crate) fn request(&mut self, now: Instant) {
        let second = self.second(now);
        if self.requests.len() <= second {
            self.requests.resize(second + 1, 0);
        }
        self.requests[second] += 1;
    }

    pub(crate) fn requests_in_this_second(&self, now: Instant) -> u32 {
        self.requests.get(self.second(now)).copied().unwrap_or(0)
    }

    pub(crate) fn conflict(&mut self) {
        self.measured.conflicts += 1;
    }

    pub(crate) fn write(&mut self, write: Write, now: Instant) {
        self.history.write(write);
        let partition = &mut self.partitions[write.partition];
        if partition.owner == write.owner {
            return;
        }
        let before = std::mem::replace(&mut partition.owner, write.owner);
        // A partition that its owner released and claimed again has not moved.
        let is_move = write.owner.is_some() && write.owner != partition.last_owner;
        partition.last_owner = write.owner.or(partition.last_owner);
        if let Some(before) = before {
            self.instances[before].owned -= 1;
        }
        if let Some(owner) = write.owner {
            self.instances[owner].owned += 1;
        }
        if is_move {
            self.measured.moves += 1;
            self.last_move = Some(now);
        }
        self.judge_fairness(now);
    }

    /// An instance starts; they start in the order of their numbers or not at all.
    pub(crate) fn join(&mut self, instance: InstanceId, now: Instant) {
        self.know(instance);
        self.instances[instance].is_live = true;
        self.judge_fairness(now);
    }

    /// From here on an instance is not meant to have anything.
    pub(crate) fn depart(&mut self, instance: InstanceId, now: Instant) {
        self.know(instance);
        self.instances[instance].is_live = false;
        self.judge_fairness(now);
    }

    /// An instance ends: it reads no more.
    pub(crate) fn end(&mut self, instance: InstanceId, now: Instant) {
        self.depart(instance, now);
        for partition in 0..self.partitions.len() {
            self.detach(instance, partition, now);
        }
    }

    /// The broker cuts off the reader before (docs/contract.md §5.3: among equal owner levels the last to
    /// attach wins).
    pub(crate) fn attach(&mut self, instance: InstanceId, partition: PartitionIndex, now: Instant) {
        match self.partitions[partition].reader.replace(instance) {
            // A reader that attaches again steals from itself, and needs no signal for that.
            Some(before) if before == instance => {}
            Some(before) => self.steal_from(before, partition),
            None => self.note_unread(partition, now),
        }
        // An older theft is settled by the new link: the instance must not give up what it reads again.
        self.instances[instance].stolen.remove(&partition);
    }

    /// As [`attach`](Self::attach), by one who does not read yet.
    pub(crate) fn cut_off(&mut self, instance: InstanceId, partition: PartitionIndex, now: Instant) {
        if let Some(before) = self.partitions[partition].reader.filter(|before| *before != instance) {
            self.detach(before, partition, now);
            self.steal_from(before, partition);
        }
    }

    fn steal_from(&mut self, instance: InstanceId, partition: PartitionIndex) {
        self.instances[instance].stolen.insert(partition);
        self.instances[instance].theft_signal.notify_one();
    }

    /// Is notified when a link of this instance was stolen.
    pub(crate) fn theft_signal(&mut self, instance: InstanceId) -> Arc<Notify> {
        self.know(instance);
        Arc::clone(&self.instances[instance].theft_signal)
    }

    pub(crate) fn detach(&mut self, instance: InstanceId, partition: PartitionIndex, now: Instant) {
        let partition = &mut self.partitions[partition];
        if partition.reader == Some(instance) {
            partition.reader = None;
            partition.unread_since = now;
        }
    }

    /// The links of an instance that the broker has cut since it was asked last.
    pub(crate) fn take_stolen(&mut self, instance: InstanceId) -> BTreeSet<PartitionIndex> {
        std::mem::take(&mut self.instances[instance].stolen)
    }

    /// How many instances run.
    pub(crate) fn live(&self) -> usize {
        self.instances.iter().filter(|instance| instance.is_live).count()
    }

    pub(crate) fn is_fair(&self) -> bool {
        let live = self.instances.iter().filter(|instance| instance.is_live);
        let owned = || live.clone().map(|instance| instance.owned);
        let (count, partitions) = (self.live(), self.partitions.len());
        count > 0
            && owned().sum::<usize>() == partitions
            // Both bounds are the same where the partitions divide evenly, so that an exact share is demanded
            // there.
            && owned().all(|owned| (partitions / count..=partitions.div_ceil(count)).contains(&owned))
    }

    /// From the last disturbance to a fairness that lasted; `None` if it is not there.
    pub(crate) fn time_to_fairness(&self) -> Option<Duration> {
        let since = self.fair_since?;
        Some(since.saturating_duration_since(self.disturbed))
    }

    /// How long all has been fair, and nothing happened.
    pub(crate) fn calm_time(&self, now: Instant) -> Duration {
        let since = self.fair_since.unwrap_or(now).max(self.disturbed);
        now.saturating_duration_since(since)
    }

    /// Whether a partition changed its owner although all had been fair for this long: what was decided
    /// before may come a little later.
    pub(crate) fn moved_when_fair(&self, grace: Duration) -> bool {
        self.fair_since
            .zip(self.last_move)
            .is_some_and(|(fair, moved)| moved > fair.max(self.disturbed) + grace)
    }

    /// What was counted, with the gaps that are still open.
    pub(crate) fn close(&mut self, now: Instant) -> Measured {
        for partition in 0..self.partitions.len() {
            if self.partitions[partition].reader.is_none() {
                self.note_unread(partition, now);
            }
        }
        self.measured.needed += self.gained();
        self.measured.clone()
    }

    /// The most requests within one second of those that were measured.
    pub(crate) fn peak_rps(&self) -> u32 {
        let from = self.second(self.measured.since);
        self.requests.iter().skip(from).copied().max().unwrap_or(0)
    }

    /// The mean of the requests in the last seconds.
    pub(crate) fn mean_rps(&self, window: Duration, now: Instant) -> f64 {
        let to = self.second(now);
        // Without the second that is running, which would count as one with few requests.
        let from = self.second(now - window);
        let in_window = self.requests.iter().take(to).skip(from);
        f64::from(in_window.sum::<u32>()) / window.as_secs_f64()
    }

    fn second(&self, now: Instant) -> usize {
        usize::try_from((now - self.started).as_secs()).expect("a scenario lasts days at most")
    }

    fn know(&mut self, instance: InstanceId) {
        if self.instances.len() <= instance {
            self.instances.resize_with(instance + 1, Instance::default);
        }
    }

    fn judge_fairness(&mut self, now: Instant) {
        let is_fair = self.is_fair();
        self.fair_since = is_fair.then(|| self.fair_since.unwrap_or(now));
    }

    /// The moves that the way since the last disturbance took at least: nobody can get more with less.
    fn gained(&self) -> u32 {
        let gained =
            self.instances.iter().map(|instance| instance.owned.saturating_sub(instance.owned_before));
        u32::try_from(gained.sum::<usize>()).expect("a hub has few partitions")
    }

    fn note_unread(&mut self, partition: PartitionIndex, now: Instant) {
        let since = self.partitions[partition].unread_since.max(self.measured.since);
        let unread = now.saturating_duration_since(since);
        self.measured.longest_unread = self.measured.longest_unread.max(unread);
    }
}

impl Measured {
    fn since(now: Instant) -> Self {
        Self { since: now, conflicts: 0, moves: 0, needed: 0, longest_unread: Duration::ZERO }
    }

    /// The moves that were not needed: each is a steal too many.
    pub(crate) fn needless_moves(&self) -> u32 {
        self.moves.saturating_sub(self.needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A ledger of four partitions, and a clock that the test moves.
    struct Scene {
        ledger: Ledger,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let now = Instant::now();
            Self { ledger: Ledger::new(4, now), now }
        }

        fn wait(&mut self, seconds: u32) -> &mut Self {
            self.now += SECOND * seconds;
            self
        }

        fn join(&mut self, instance: InstanceId) -> &mut Self {
            self.ledger.join(instance, self.now);
            self
        }

        fn owns(&mut self, owner: impl Into<Option<InstanceId>>, partitions: &[PartitionIndex]) -> &mut Self {
            let owner = owner.into();
            for &partition in partitions {
                let write = Write { partition, expected: None, version: 1, owner };
                self.ledger.write(write, self.now);
            }
            self
        }

        fn close(&mut self) -> Measured {
            self.ledger.close(self.now)
        }
    }

    #[test]
    fn shares_are_fair_when_live_instances_own_all_and_differ_by_one() {
        let mut scene = Scene::new();
        scene.join(0).join(1).owns(0, &[0, 1]).owns(1, &[2]);
        assert!(!scene.ledger.is_fair(), "one is free");
        scene.owns(0, &[3]);
        assert!(!scene.ledger.is_fair(), "three and one");
        scene.owns(1, &[3]);
        assert!(scene.ledger.is_fair());
        scene.ledger.end(1, scene.now);
        assert!(!scene.ledger.is_fair(), "a dead one owns two");
    }

    #[test]
    fn the_way_to_fairness_counts_from_the_last_disturbance_to_what_lasted() {
        let mut scene = Scene::new();
        scene.join(0).owns(0, &[0, 1, 2, 3]).wait(5);
        scene.ledger.disturb(scene.now);
        assert_eq!(scene.ledger.time_to_fairness(), Some(Duration::ZERO));
        scene.join(1);
        assert_eq!(scene.ledger.time_to_fairness(), None);
        scene.wait(3).owns(1, &[0, 1]).wait(7);
        assert_eq!(scene.ledger.time_to_fairness(), Some(SECOND * 3));
        assert!(!scene.ledger.moved_when_fair(Duration::ZERO));
        scene.owns(1, &[2]).owns(0, &[0]).wait(1).owns(0, &[1]).owns(1, &[3]);
        assert!(scene.ledger.is_fair());
        assert_eq!(scene.ledger.time_to_fairness(), Some(SECOND * 11), "what was fair before did not last");
    }

    #[test]
    fn a_swap_among_fair_shares_is_no_calm() {
        let mut scene = Scene::new();
        scene.join(0).join(1).join(2).owns(0, &[0, 1]).owns(1, &[2]).owns(2, &[3]).wait(1);
        assert!(!scene.ledger.moved_when_fair(Duration::ZERO));
        scene.owns(1, &[1]);
        assert!(scene.ledger.is_fair());
        assert!(scene.ledger.moved_when_fair(Duration::ZERO));
        assert!(!scene.ledger.moved_when_fair(SECOND), "it was decided before");
    }

    #[test]
    fn moves_beyond_the_change_of_the_shares_are_needless() {
        let mut scene = Scene::new();
        scene.join(0).owns(0, &[0, 1, 2, 3]).wait(1);
        scene.ledger.begin_to_measure(scene.now);
        scene.join(1).owns(1, &[0, 1]);
        let measured = scene.close();
        assert_eq!((measured.moves, measured.needless_moves()), (2, 0));
        let mut scene = Scene::new();
        scene.join(0).join(1).owns(0, &[0, 1, 2]).owns(1, &[2, 3]);
        let measured = scene.close();
        assert_eq!((measured.moves, measured.needless_moves()), (5, 1));
    }

    #[test]
    fn a_release_is_no_move_and_nor_is_to_take_back_what_one_released() {
        let mut scene = Scene::new();
        scene.join(0).owns(0, &[0]).owns(None, &[0]).owns(0, &[0]);
        assert_eq!(scene.close().moves, 1);
        scene.join(1).owns(None, &[0]).owns(1, &[0]);
        assert_eq!(scene.close().moves, 2);
    }

    #[test]
    fn the_longest_time_without_a_reader_counts_while_it_lasts_too() {
        let mut scene = Scene::new();
        scene.join(0);
        for partition in 0..4 {
            scene.ledger.attach(0, partition, scene.now);
        }
        scene.wait(2);
        scene.ledger.detach(0, 3, scene.now);
        scene.wait(5);
        scene.ledger.attach(0, 3, scene.now);
        scene.wait(9);
        assert_eq!(scene.close().longest_unread, SECOND * 5);
        scene.ledger.end(0, scene.now);
        scene.wait(6);
        assert_eq!(scene.close().longest_unread, SECOND * 6);
    }

    #[test]
    fn the_last_to_attach_cuts_off_the_reader_before() {
        let mut scene = Scene::new();
        scene.join(0).join(1);
        scene.ledger.attach(0, 2, scene.now);
        scene.wait(1);
        scene.ledger.attach(1, 2, scene.now);
        assert_eq!(scene.ledger.take_stolen(0), BTreeSet::from([2]));
        assert_eq!(scene.ledger.take_stolen(0), BTreeSet::new());
        scene.ledger.detach(0, 2, scene.now);
        scene.wait(3);
        scene.ledger.end(1, scene.now);
        scene.wait(1);
        assert_eq!(scene.ledger.partitions[2].unread_since + SECOND, scene.now);
    }

    #[test]
    fn requests_are_counted_by_the_second() {
        let mut scene = Scene::new();
        for (wait, requests) in [(0, 9), (1, 3), (1, 1), (2, 2)] {
            scene.wait(wait);
            for _ in 0..requests {
                scene.ledger.request(scene.now);
            }
            if wait == 0 {
                scene.ledger.begin_to_measure(scene.now + SECOND);
            }
        }
        assert_eq!(scene.ledger.requests_in_this_second(scene.now), 2);
        assert_eq!(scene.ledger.peak_rps(), 3, "what was before the measurement does not count");
        let mean = scene.ledger.mean_rps(SECOND * 4, scene.now + SECOND);
        assert!((mean - 1.5).abs() < 1e-9, "{mean}");
    }
}
