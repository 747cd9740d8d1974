//! Finds instances that are short of partitions and take none: one that is limited to fewer, cut off from the
//! store, or stopped while its leases still run. What they leave is for the others; see
//! [`plan`](crate::plan).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use eventhubs_types::OwnerId;
use tokio::time::Instant;

use crate::{Peer, View};

/// What is remembered of the instances that are short. In a fleet with fair shares it is empty.
#[derive(Debug, Default)]
pub(crate) struct PassiveWatch {
    short: HashMap<OwnerId, Sighting>,
}

#[derive(Debug, Clone, Copy)]
struct Sighting {
    load: usize,
    /// Since when it has had this load, and been short.
    since: Instant,
}

impl PassiveWatch {
    /// Takes note of who is short at the time of a listing, and returns those who have been short and have
    /// not gained for `patience`.
    ///
    /// An instance that gains, however slowly, is left the rest of its share: to take that first would only
    /// make it steal.
    pub(crate) fn judge(&mut self, view: &View, now: Instant, patience: Duration) -> BTreeSet<OwnerId> {
        let partitions = view.partitions();
        let (floor, ceiling) = (partitions / view.owners(), partitions.div_ceil(view.owners()));
        // With nothing free, one at the floor has what it can have.
        let enough = if view.free.is_empty() { floor } else { ceiling };
        // An instance of another SDK cannot take what is offered, and still counts its owner as one of the
        // fleet. To take its share meanwhile would make it steal that back, and events be repeated.
        let is_waiting = |peer: &Peer| !peer.takes_offers && !view.offered.is_empty();
        let is_short = |peer: &&Peer| peer.partitions.len() < enough && !is_waiting(peer);
        let mut before = std::mem::take(&mut self.short);
        for peer in view.others.iter().filter(is_short) {
            let load = peer.partitions.len();
            let known = before.remove(&peer.owner).filter(|sighting| sighting.load >= load);
            let since = known.map_or(now, |sighting| sighting.since);
            self.short.insert(peer.owner.clone(), Sighting { load, since });
        }
        let is_passive = |sighting: &Sighting| now.saturating_duration_since(sighting.since) >= patience;
        let passive = self.short.iter().filter(|(_, sighting)| is_passive(sighting));
        passive.map(|(owner, _)| owner.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Who is passive at these times, given how many partitions each of the others holds, and how many are
    /// free.
    fn judged(sights: &[(u64, &[usize], usize)]) -> Vec<Vec<String>> {
        let start = Instant::now();
        let mut watch = PassiveWatch::default();
        let judge = |(at, loads, free): &(u64, &[usize], usize)| {
            let partitions = |count: usize| (0..count).map(|id| id.to_string().parse().unwrap()).collect();
            let peer = |(name, load): (usize, &usize)| {
                Peer::new(name.to_string().parse().unwrap(), partitions(*load))
            };
            let view = View {
                mine: partitions(7),
                free: partitions(*free),
                others: loads.iter().enumerate().map(peer).collect(),
                ..View::default()
            };
            let passive = watch.judge(&view, start + Duration::from_secs(*at), PATIENCE);
            passive.iter().map(ToString::to_string).collect()
        };
        sights.iter().map(judge).collect()
    }

    #[test]
    fn one_that_is_short_and_takes_nothing_is_passive_after_a_time() {
        let seen = judged(&[(0, &[7, 2], 4), (19, &[7, 2], 4), (20, &[7, 2], 4), (40, &[9, 2], 0)]);
        assert_eq!(seen, [vec![], vec![], vec!["1"], vec!["1"]]);
    }

    #[test]
    fn one_that_gains_is_not_passive_and_one_that_loses_does_not_gain() {
        let seen = judged(&[
            (0, &[7, 1], 5),
            (15, &[7, 2], 4),
            (30, &[7, 3], 3),
            (45, &[7, 2], 4),
            (50, &[7, 2], 4),
        ]);
        assert_eq!(seen, [vec![], vec![], vec![], vec![], vec!["1".to_owned()]]);
    }

    #[test]
    fn an_instance_of_another_sdk_is_not_short_of_what_is_offered() {
        let (start, mut watch) = (Instant::now(), PassiveWatch::default());
        let ids = |ids: [u8; 3]| ids.map(|id| id.to_string().parse().unwrap()).to_vec();
        let mut python = Peer::new("python".parse().unwrap(), ids([0, 1, 2]));
        python.takes_offers = false;
        let mut view = View { mine: ids([3, 4, 5]), free: ids([6, 7, 8]), ..View::default() };
        view.others.push(python);
        let mut judge = |view: &View, at| watch.judge(view, start + Duration::from_secs(at), PATIENCE).len();

        view.offered = view.free.clone();
        assert_eq!((judge(&view, 0), judge(&view, 20)), (0, 0));
        view.offered.clear();
        assert_eq!((judge(&view, 21), judge(&view, 41)), (0, 1), "but of what is released");
    }

    #[test]
    fn who_has_its_share_is_not_passive() {
        assert!(judged(&[(0, &[7, 6], 0), (100, &[7, 6], 0)])[1].is_empty());
        let with_one_free = judged(&[(0, &[7, 6], 1), (100, &[7, 6], 1)]);
        assert_eq!(with_one_free[1], ["1"], "what is free could be its own");
    }
}
