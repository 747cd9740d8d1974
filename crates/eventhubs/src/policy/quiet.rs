//! When a link counts as stalled: the event hub has events that do not come. Pure, and without a clock: it adds up how
//! long the pump has waited in vain.

use std::time::Duration;

use eventhubs_types::SequenceNumber;

use crate::policy::until::Standing;

/// How long no event may come before the event hub is asked whether there is one.
const QUIET: Duration = Duration::from_secs(60);

/// How long an event that the event hub has may take to come: much longer than any delivery.
const GRACE: Duration = Duration::from_secs(10);

/// How long it takes until the next question where the last one had no answer, or could not be asked.
const AGAIN: Duration = Duration::from_secs(10);

/// How long a link has been quiet, and what is known of that.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    waited: Duration,
    /// An event that is to come, since it was in the event hub at this time.
    awaited: Option<(SequenceNumber, Duration)>,
    /// Not before this time is the event hub asked again.
    not_before: Duration,
}

/// What to do about a link that is quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    Wait(Duration),
    /// Ask for the newest event.
    Ask,
    /// This event does not come.
    Stalled(SequenceNumber),
}

impl Quiet {
    /// An event has come, or the link is another one.
    pub(crate) fn over(&mut self) {
        *self = Self::default();
    }

    /// Nothing has come for this time.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited = self.waited.saturating_add(time);
    }

    /// The newest event, as the event hub says, where it is after those that have come.
    pub(crate) fn answered(&mut self, newest: Option<SequenceNumber>) {
        match newest {
            Some(newest) => self.awaited = Some((newest, self.waited)),
            // All has come: the next question is due when the link has been quiet for as long again.
            None => self.not_before = self.waited.saturating_add(QUIET),
        }
    }

    pub(crate) fn unanswered(&mut self) {
        self.not_before = self.waited.saturating_add(AGAIN);
    }

    pub(crate) fn finding(&self) -> Finding {
        if let Some((newest, since)) = self.awaited {
            let end = since.saturating_add(GRACE);
            return match end.checked_sub(self.waited).filter(|rest| !rest.is_zero()) {
                Some(rest) => Finding::Wait(rest),
                None => Finding::Stalled(newest),
            };
        }
        let due = self.not_before.max(QUIET);
        match due.checked_sub(self.waited).filter(|rest| !rest.is_zero()) {
            Some(rest) => Finding::Wait(rest),
            None => Finding::Ask,
        }
    }
}

/// Whether the newest event of a partition, which is still there, has to come yet.
pub(crate) fn is_to_come(newest: SequenceNumber, standing: Standing<'_>) -> bool {
    // Where the number is not known, reading may have begun after the event.
    standing.known_next().is_some_and(|next| newest.value() >= next)
}

#[cfg(test)]
mod tests {
    use eventhubs_types::StartingPosition;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_quiet_link_is_stalled_when_an_event_does_not_come() {
        let mut quiet = Quiet::default();
        assert_eq!(quiet.finding(), Finding::Wait(QUIET));
        quiet.waited(seconds(45));
        assert_eq!(quiet.finding(), Finding::Wait(seconds(15)));
        quiet.waited(seconds(15));
        assert_eq!(quiet.finding(), Finding::Ask);
        quiet.answered(Some(7.into()));
        assert_eq!(quiet.finding(), Finding::Wait(GRACE));
        quiet.waited(seconds(4));
        assert_eq!(quiet.finding(), Finding::Wait(seconds(6)));
        quiet.waited(seconds(6));
        assert_eq!(quiet.finding(), Finding::Stalled(7.into()));
        quiet.over();
        assert_eq!(quiet.finding(), Finding::Wait(QUIET));
    }

    #[test]
    fn a_partition_with_nothing_to_read_is_asked_for_again_and_again() {
        let mut quiet = Quiet::default();
        for _ in 0..3 {
            quiet.waited(QUIET);
            assert_eq!(quiet.finding(), Finding::Ask);
            quiet.answered(None);
            assert_eq!(quiet.finding(), Finding::Wait(QUIET));
        }
        quiet.waited(QUIET);
        quiet.unanswered();
        assert_eq!(quiet.finding(), Finding::Wait(AGAIN));
        quiet.waited(AGAIN);
        assert_eq!(quiet.finding(), Finding::Ask);
    }

    #[test]
    fn only_an_event_that_is_known_to_be_unread_is_to_come() {
        let number = |number: i64| StartingPosition::from_sequence_number(number);
        for (reached, began, is_expected) in [
            (Some(6), StartingPosition::Earliest, true),
            (Some(7), StartingPosition::Earliest, false),
            (Some(8), StartingPosition::Earliest, false),
            (None, StartingPosition::Earliest, true),
            (None, number(7), true),
            (None, number(8), false),
            (None, StartingPosition::after_sequence_number(7), false),
            (None, StartingPosition::Latest, false),
            (None, StartingPosition::from_offset("0"), false),
        ] {
            let standing = Standing { reached: reached.map(SequenceNumber::new), began: Some(&began) };
            assert_eq!(is_to_come(7.into(), standing), is_expected, "{standing:?}");
        }
        assert!(!is_to_come(7.into(), Standing { reached: None, began: None }));
    }

    #[test]
    fn a_wait_without_end_does_not_overflow() {
        let mut quiet = Quiet::default();
        quiet.waited(Duration::MAX);
        quiet.waited(Duration::MAX);
        quiet.answered(None);
        assert_eq!(quiet.finding(), Finding::Ask);
        quiet.answered(Some(1.into()));
        assert_eq!(quiet.finding(), Finding::Stalled(1.into()));
    }
}
