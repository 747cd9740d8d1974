//! The mark of an ownership record in the words of the hand-over protocol. Pure.

use eventhubs_checkpoint_store::{Audience, Mark, Ownership};
use eventhubs_types::OwnerId;

/// The first word of every mark that this version writes: who does not know it takes the record for a
/// stranger's.
const PROTOCOL: &str = "1";

/// What an ownership record says in addition to its owner, to instances that follow this protocol.
///
/// A record without a note belongs to another SDK, or to an owner that does not hand over: it is stolen
/// without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// The owner hands over when it is asked.
    Kept,
    /// The owner stops: it reads on until somebody takes the partition.
    Offered,
    /// The owner took the partition from this one, and waits until that has ended its reading.
    Asks(OwnerId),
    /// The one who was asked has ended its reading. It wrote this, in the name of the owner.
    HandedOver,
    /// This one owned the partition last, and released it.
    ReleasedBy(OwnerId),
}

impl Note {
    pub(crate) fn of(record: &Ownership) -> Option<Self> {
        let text = record.mark.as_ref()?.as_str().strip_prefix(PROTOCOL)?;
        match text {
            "" => Some(Self::Kept),
            " offer" => Some(Self::Offered),
            " done" => Some(Self::HandedOver),
            _ => match text.strip_prefix(" ask ") {
                Some(asked) => Some(Self::Asks(asked.parse().ok()?)),
                None => Some(Self::ReleasedBy(text.strip_prefix(" left ")?.parse().ok()?)),
            },
        }
    }

    /// Whether the owner waits for this one.
    pub(crate) fn asks(&self, owner: &OwnerId) -> bool {
        matches!(self, Self::Asks(asked) if asked == owner)
    }

    /// Who is to hear of it before its next round. An answer is announced to the owner of its record, which the
    /// note does not name.
    pub(crate) fn audience(&self) -> Option<Audience> {
        match self {
            Self::Offered | Self::ReleasedBy(_) => Some(Audience::Everyone),
            Self::Asks(owner) => Some(Audience::Owner(owner.clone())),
            Self::Kept | Self::HandedOver => None,
        }
    }

    pub(crate) fn to_mark(&self) -> Mark {
        Mark::new(match self {
            Self::Kept => PROTOCOL.to_owned(),
            Self::Offered => format!("{PROTOCOL} offer"),
            Self::HandedOver => format!("{PROTOCOL} done"),
            Self::Asks(owner) => format!("{PROTOCOL} ask {owner}"),
            Self::ReleasedBy(owner) => format!("{PROTOCOL} left {owner}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store::Version;

    use super::*;

    fn read(mark: Option<Mark>) -> Option<Note> {
        let record = Ownership::new("0".parse().unwrap(), "a".parse().ok(), Version::new("1"), None);
        Note::of(&record.with_mark(mark))
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let asks = |owner: &str| Note::Asks(owner.parse().unwrap());
        let left = Note::ReleasedBy("pod 1".parse().unwrap());
        for note in [Note::Kept, Note::Offered, Note::HandedOver, asks("pod-1"), asks("done 1 ask x"), left] {
            assert_eq!(read(Some(note.to_mark())), Some(note));
        }
    }

    #[test]
    fn what_another_version_wrote_is_no_note() {
        assert_eq!(read(None), None);
        for text in ["", "2", "1 ", "1 later", "1 ask ", "1 left ", "1ask b", "ask b"] {
            assert_eq!(read(Some(Mark::new(text))), None, "{text:?}");
        }
    }
}
