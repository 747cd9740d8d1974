//! How an offset is said: as a number, until the event hub fails over to its geo-replica (docs/contract.md
//! §0.2, no. 2).

use std::fmt;

/// The byte position of an event, as it is said in one era: `320` before the first fail-over, then `1:320`, `2:320` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset {
    /// How often the hub has failed over.
    pub(crate) era: u16,
    /// In the partition; it stays the same when the era changes. -1 before the first event.
    pub(crate) position: i64,
}

impl Offset {
    /// The position that a consumer of this era means. An earlier era will do: a replica has the same events.
    ///
    /// `None` for text that is no offset here; after a fail-over a number is none.
    pub(crate) fn position_in(era: u16, text: &str) -> Option<i64> {
        if era == 0 {
            return text.parse().ok();
        }
        let (said_in, position) = text.split_once(':')?;
        let is_known = (1..=era).contains(&said_in.parse().ok()?);
        is_known.then(|| position.parse().ok())?
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { position: -1, .. } | Self { era: 0, .. } => write!(f, "{}", self.position),
            Self { era, position } => write!(f, "{era}:{position}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_number_until_the_first_fail_over() {
        for (era, position, text) in
            [(0, 0, "0"), (0, 320, "320"), (1, 0, "1:0"), (1, 320, "1:320"), (27, 320, "27:320")]
        {
            assert_eq!(Offset { era, position }.to_string(), text);
            assert_eq!(Offset::position_in(era, text), Some(position), "{text}");
        }
    }

    /// Contract §4.2.
    #[test]
    fn a_partition_that_was_never_written_to_says_so_in_any_era() {
        assert_eq!(Offset { era: 0, position: -1 }.to_string(), "-1");
        assert_eq!(Offset { era: 3, position: -1 }.to_string(), "-1");
    }

    #[test]
    fn an_offset_of_an_earlier_era_is_known_and_no_other() {
        for (era, text, position) in [
            (2, "1:320", Some(320)),
            (2, "2:320", Some(320)),
            (2, "3:320", None),
            (2, "0:320", None),
            (2, "320", None),
            (0, "1:320", None),
            (0, "-5", Some(-5)),
            (0, "abc", None),
            (1, "abc", None),
            (1, "1:", None),
            (1, ":320", None),
            (1, "1:320:7", None),
            (1, "65536:320", None),
        ] {
            assert_eq!(Offset::position_in(era, text), position, "{text} in {era}");
        }
    }
}
