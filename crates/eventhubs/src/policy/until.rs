//! The end of a bounded run: what the user asks for, which events come before it, and whether a partition has any of
//! them left. Pure; `pump/bounded.rs` asks the service.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use eventhubs_types::{Offset, PartitionId, SequenceNumber, StartingPosition};

/// The longest time that is waited for: practically unlimited, but within the range of the clock.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Up to where a run reads; see [`Receive::until`](crate::Receive::until).
///
/// ```
/// use std::time::Duration;
///
/// use eventhubs::Until;
///
/// let replay = Until::sequence_numbers([("0".parse()?, 4711.into()), ("1".parse()?, 42.into())]);
/// let quiet = Until::idle(Duration::from_secs(30));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Now,
    SequenceNumbers(BTreeMap<PartitionId, SequenceNumber>),
    Time(SystemTime),
    Idle(Duration),
}

impl Until {
    /// Up to the newest event that a partition has when the run opens it for the first time. The service is asked for
    /// it, once per partition.
    pub fn now() -> Self {
        Self { kind: Kind::Now }
    }

    /// Up to the event with this number, itself included. A partition without a number is not read. If the event hub
    /// does not have the event yet, the run waits for it.
    pub fn sequence_numbers(numbers: impl IntoIterator<Item = (PartitionId, SequenceNumber)>) -> Self {
        Self { kind: Kind::SequenceNumbers(numbers.into_iter().collect()) }
    }

    /// All events that the service enqueued before this time. A time that is yet to come is waited for, by the clock
    /// of this machine: where that is ahead of the clock of the service, events that come in between are not read.
    pub fn time(time: SystemTime) -> Self {
        Self { kind: Kind::Time(time) }
    }

    /// Until a partition has no new event for this long, counted from when it was opened or from its last event, and
    /// the service confirms that there is none that was not read.
    pub fn idle(time: Duration) -> Self {
        Self { kind: Kind::Idle(time.min(LONGEST)) }
    }

    /// What cannot be used as it is, if anything, in a run that reads this partition only, or all of them.
    pub(crate) fn mistake(&self, partition: Option<&PartitionId>) -> Option<String> {
        match (&self.kind, partition) {
            (Kind::Idle(Duration::ZERO), _) => Some("until: idle must be more than zero".to_owned()),
            (Kind::SequenceNumbers(numbers), _) if numbers.is_empty() => {
                Some("until: sequence_numbers must name a partition".to_owned())
            }
            (Kind::SequenceNumbers(numbers), Some(partition)) if !numbers.contains_key(partition) => Some(
                format!("until: sequence_numbers has none for partition {partition}, which is to be read"),
            ),
            _ => None,
        }
    }

    /// A partition that has a number but does not exist.
    pub(crate) fn unknown_among(&self, partitions: &[PartitionId]) -> Option<&PartitionId> {
        let Kind::SequenceNumbers(numbers) = &self.kind else { return None };
        numbers.keys().find(|partition| !partitions.contains(partition))
    }

    /// Whether anything of this partition is to be read.
    pub(crate) fn reads(&self, partition: &PartitionId) -> bool {
        self.number_of(partition).is_some() || !matches!(self.kind, Kind::SequenceNumbers(_))
    }

    /// What is known of the limit before the service was asked.
    pub(crate) fn limit(&self, partition: &PartitionId) -> Limit {
        let before = if let Kind::Time(time) = self.kind { Some(time) } else { None };
        Limit { last: self.number_of(partition), before }
    }

    fn number_of(&self, partition: &PartitionId) -> Option<SequenceNumber> {
        let Kind::SequenceNumbers(numbers) = &self.kind else { return None };
        numbers.get(partition).copied()
    }

    /// Whether the newest event of this moment is the last one to read.
    pub(crate) fn ends_with_newest(&self, now: SystemTime) -> bool {
        match self.kind {
            Kind::Now => true,
            Kind::Time(time) => time <= now,
            Kind::SequenceNumbers(_) | Kind::Idle(_) => false,
        }
    }

    /// How long a partition has to be without events to be at its end; `None` where that is no end.
    pub(crate) fn idle_time(&self) -> Option<Duration> {
        if let Kind::Idle(time) = self.kind { Some(time) } else { None }
    }

    /// How long it is until the time at which the run ends; `None` where there is none to wait for.
    pub(crate) fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let Kind::Time(time) = self.kind else { return None };
        time.duration_since(now).ok().filter(|left| !left.is_zero())
    }
}

/// Which events of a partition are handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The last one.
    pub(crate) last: Option<SequenceNumber>,
    /// Those enqueued before this time.
    pub(crate) before: Option<SystemTime>,
}

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    HandOut,
    HandOutLast,
    /// It comes after the limit, as does everything after it.
    Stop,
}

impl Limit {
    /// What to do with the next event. One without a time counts as enqueued before any.
    pub(crate) fn decide(&self, number: SequenceNumber, enqueued: Option<SystemTime>) -> Decision {
        let is_late = self.before.zip(enqueued).is_some_and(|(before, enqueued)| enqueued >= before);
        match self.last {
            _ if is_late => Decision::Stop,
            Some(last) if number > last => Decision::Stop,
            Some(last) if number == last => Decision::HandOutLast,
            _ => Decision::HandOut,
        }
    }
}

/// What the service says of the events of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) oldest: Option<SequenceNumber>,
    /// -1 where there never was an event.
    pub(crate) newest: SequenceNumber,
    pub(crate) newest_offset: Option<Offset>,
    pub(crate) newest_time: Option<SystemTime>,
    /// Whether the partition holds no event.
    pub(crate) is_empty: bool,
}

/// Where reading is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    /// All events up to this one were handed out, or were done before.
    pub(crate) reached: Option<SequenceNumber>,
    /// Where reading began, which counts where nothing was reached.
    pub(crate) began: Option<&'a StartingPosition>,
}

impl Standing<'_> {
    /// Whether nothing up to `last` can come any more.
    pub(crate) fn is_past(&self, last: SequenceNumber, extent: &Extent) -> bool {
        let has_all = extent.newest >= last;
        self.next(extent) > last.value() || has_all && (extent.is_empty || self.is_after_all(extent))
    }

    /// The lowest number that can come.
    fn next(&self, extent: &Extent) -> i64 {
        let oldest = extent.oldest.map_or(0, SequenceNumber::value);
        self.known_next().unwrap_or(0).max(oldest)
    }

    /// The same where nothing has expired; `None` where only the service knows which number the position is.
    pub(crate) fn known_next(&self) -> Option<i64> {
        match (self.reached, self.began) {
            (Some(reached), _) => Some(reached.value().saturating_add(1)),
            (None, Some(StartingPosition::SequenceNumber { number, inclusive })) => {
                Some(number.value().saturating_add(i64::from(!inclusive)))
            }
            (None, Some(StartingPosition::Earliest)) => Some(0),
            _ => None,
        }
    }

    /// Whether reading began after the newest event, at a position that is no number.
    fn is_after_all(&self, extent: &Extent) -> bool {
        match self.began.filter(|_| self.reached.is_none()) {
            Some(StartingPosition::EnqueuedTime { time, inclusive }) => {
                extent.newest_time.is_some_and(|newest| newest < *time || newest == *time && !inclusive)
            }
            Some(StartingPosition::Offset { offset, inclusive: false }) => {
                extent.newest_offset.as_ref() == Some(offset)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn at(seconds: i64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
    }

    /// All events and limits of a small partition, in which event n is enqueued at second n.
    #[test]
    fn an_event_is_handed_out_exactly_when_it_comes_before_the_limit() {
        let limits = std::iter::once(None).chain((0..6).map(Some));
        for (last, before) in limits.clone().flat_map(|last| limits.clone().map(move |before| (last, before)))
        {
            let limit = Limit { last: last.map(SequenceNumber::new), before: before.map(at) };
            for number in 0..6_i64 {
                let decision = limit.decide(number.into(), Some(at(number)));
                let is_in =
                    last.is_none_or(|last| number <= last) && before.is_none_or(|before| number < before);
                assert_eq!(decision != Decision::Stop, is_in, "{number} of {limit:?}");
                let is_last = is_in && last == Some(number);
                assert_eq!(decision == Decision::HandOutLast, is_last, "{number} of {limit:?}");
            }
        }
    }

    #[test]
    fn an_event_without_a_time_is_within_any() {
        let limit = Limit { last: None, before: Some(at(0)) };
        assert_eq!(limit.decide(7.into(), None), Decision::HandOut);
    }

    /// A partition that holds the events from `oldest` to `newest`: none where `oldest` is higher.
    fn extent(oldest: i64, newest: i64) -> Extent {
        Extent {
            oldest: Some(oldest.into()),
            newest: newest.into(),
            newest_offset: (newest >= 0).then(|| format!("offset {newest}").into()),
            newest_time: (newest >= 0).then(|| at(newest)),
            is_empty: oldest > newest,
        }
    }

    /// Every position in every small partition, with the events that reading there yields.
    fn positions(oldest: i64, newest: i64) -> Vec<(Option<i64>, StartingPosition, i64)> {
        let mut positions = vec![(None, StartingPosition::Earliest, oldest)];
        for number in 0..=newest + 2 {
            positions.push((None, StartingPosition::from_sequence_number(number), number));
            positions.push((None, StartingPosition::after_sequence_number(number), number + 1));
            positions.push((None, StartingPosition::from_enqueued_time(at(number)), number));
            positions.push((None, StartingPosition::after_enqueued_time(at(number)), number + 1));
            // Where it began does not matter any more.
            positions.push((Some(number), StartingPosition::Earliest, number + 1));
        }
        positions
    }

    /// A run must not end before an event that is there, and must not wait for one that cannot come.
    #[test]
    fn a_partition_is_past_a_number_when_nothing_up_to_it_is_to_come() {
        for (oldest, newest) in [(0, -1), (0, 0), (0, 4), (2, 4), (4, 4), (5, 4)] {
            for (reached, began, next) in positions(oldest, newest) {
                for last in -1..=newest + 2 {
                    let standing = Standing { reached: reached.map(Into::into), began: Some(&began) };
                    let is_past = standing.is_past(last.into(), &extent(oldest, newest));
                    let is_time = matches!(began, StartingPosition::EnqueuedTime { .. });
                    // What is yet to come has a later time than any position here.
                    let is_after = |number: i64| number >= next || is_time && number > newest;
                    let can_come = |number: i64| is_after(number) && (number > newest || number >= oldest);
                    let is_to_come = (0..=last).any(can_come);
                    // The first event after a time is there, and tells when it comes.
                    let is_told = is_time && (oldest.max(next)..=newest).any(|number| number > last);
                    let case = format!("{oldest}..={newest} from {began:?} after {reached:?} to {last}");
                    assert!(!(is_past && is_to_come), "it ends too early: {case}");
                    assert!(is_past || is_to_come || is_told, "it waits in vain: {case}");
                }
            }
        }
    }

    #[test]
    fn a_start_after_the_offset_of_the_newest_event_is_past_it() {
        let is_past =
            |began| Standing { reached: None, began: Some(&began) }.is_past(4.into(), &extent(0, 4));
        assert!(is_past(StartingPosition::after_offset("offset 4")));
        assert!(!is_past(StartingPosition::from_offset("offset 4")));
        assert!(!is_past(StartingPosition::after_offset("offset 3")));
        assert!(!is_past(StartingPosition::Latest), "the service decides, and has not said");
    }

    #[test]
    fn where_the_service_does_not_say_when_the_newest_event_came_it_may_be_after_the_time() {
        let began = StartingPosition::from_enqueued_time(at(9));
        let extent = Extent { newest_time: None, ..extent(0, 4) };
        assert!(!Standing { reached: None, began: Some(&began) }.is_past(4.into(), &extent));
    }

    #[test]
    fn a_bound_that_no_partition_can_reach_is_a_mistake() {
        let zero: PartitionId = "0".parse().unwrap();
        let named = Until::sequence_numbers([(zero.clone(), 3.into())]);
        assert_eq!((named.mistake(None), named.mistake(Some(&zero))), (None, None));
        assert!(named.mistake(Some(&"1".parse().unwrap())).is_some());
        assert!(Until::sequence_numbers([]).mistake(None).is_some());
        assert!(Until::idle(Duration::ZERO).mistake(None).is_some());
        assert_eq!(Until::now().mistake(Some(&zero)), None);
        assert_eq!(
            (named.unknown_among(&[]), named.unknown_among(slice::from_ref(&zero))),
            (Some(&zero), None)
        );
        assert!(named.reads(&zero) && !named.reads(&"1".parse().unwrap()));
    }

    #[test]
    fn the_newest_event_is_the_last_one_at_once_or_when_the_time_has_come() {
        let time = Until::time(at(5));
        assert!(Until::now().ends_with_newest(at(0)));
        assert_eq!([4, 5, 6].map(|now| time.ends_with_newest(at(now))), [false, true, true]);
        let left = [4, 5, 6].map(|now| time.time_left(at(now)));
        assert_eq!(left, [Some(Duration::from_secs(1)), None, None]);
        assert!(!Until::idle(Duration::from_secs(1)).ends_with_newest(at(9)));
    }
}
