//! Who may read a partition in one consumer group: the owner level rules of the service (docs/contract.md
//! §5.3).

use crate::condition::{Condition, LINK_STOLEN, RESOURCE_LIMIT};

/// How many readers without an owner level one partition of a consumer group takes.
pub(crate) const MAX_READERS: usize = 5;

/// One link that reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) owner_level: Option<i64>,
}

/// The readers of one partition in one consumer group. Either all have the same owner level and there is one, or none
/// has a level.
#[derive(Debug, Default)]
pub(crate) struct Readers(Vec<Reader>);

/// A reader that has to go because another one came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Displaced {
    pub(crate) id: u64,
    pub(crate) reason: Condition,
}

impl Readers {
    /// Takes the newcomer in and says who has to leave for it.
    ///
    /// # Errors
    /// When the newcomer is refused: what the service says then.
    pub(crate) fn admit(&mut self, newcomer: Reader) -> Result<Vec<Displaced>, Condition> {
        let highest =
            self.0.iter().filter(|reader| reader.owner_level.is_some()).max_by_key(|r| r.owner_level);
        match (newcomer.owner_level, highest) {
            (None, Some(levelled)) => Err(needs_a_level(levelled)),
            (None, None) if self.0.len() >= MAX_READERS => Err(self.too_many()),
            (None, None) => {
                self.0.push(newcomer);
                Ok(Vec::new())
            }
            (Some(level), Some(higher)) if higher.owner_level > Some(level) => {
                Err(outranked(&newcomer, level, higher))
            }
            // Also against readers of the same level: among equals the last to attach wins, and readers
            // without a level always lose.
            (Some(level), _) => {
                let reason = |old: &Reader| displaced_by(&newcomer, level, old);
                let gone = self.0.iter().map(|old| Displaced { id: old.id, reason: reason(old) }).collect();
                self.0 = vec![newcomer];
                Ok(gone)
            }
        }
    }

    /// Forgets a reader whose link ended; one that was displaced is forgotten already.
    pub(crate) fn leave(&mut self, id: u64) {
        self.0.retain(|reader| reader.id != id);
    }

    pub(crate) fn all(&self) -> &[Reader] {
        &self.0
    }

    fn too_many(&self) -> Condition {
        let names: Vec<&str> = self.0.iter().map(name).collect();
        let text = format!(
            "Exceeded the maximum number of allowed receivers per partition in a consumer group which is {MAX_READERS}. \
             List of connected receivers - {}.",
            names.join(", ")
        );
        Condition::new(RESOURCE_LIMIT, text)
    }
}

/// The service prints `nil` for a receiver that sent no `com.microsoft:receiver-name`.
fn name(reader: &Reader) -> &str {
    reader.name.as_deref().unwrap_or("nil")
}

/// The service counts no owner level as -1.
fn level(reader: &Reader) -> i64 {
    reader.owner_level.unwrap_or(-1)
}

fn needs_a_level(levelled: &Reader) -> Condition {
    let text = format!(
        "At least one receiver for the endpoint is created with epoch of '{}', and so non-epoch receiver is not allowed. \
         Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.",
        level(levelled)
    );
    Condition::new(LINK_STOLEN, text)
}

fn outranked(newcomer: &Reader, new_level: i64, higher: &Reader) -> Condition {
    let text = format!(
        "Receiver '{}' with a higher epoch '{}' already exists. Receiver '{}' with epoch {new_level} cannot be created. \
         Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old \
         epoch receivers are closed or disconnected.",
        name(higher),
        level(higher),
        name(newcomer)
    );
    Condition::new(LINK_STOLEN, text)
}

fn displaced_by(newcomer: &Reader, new_level: i64, old: &Reader) -> Condition {
    let text = format!(
        "New receiver '{}' with higher epoch of '{new_level}' is created hence current receiver '{}' with epoch '{}' is \
         getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.",
        name(newcomer),
        name(old),
        level(old)
    );
    Condition::new(LINK_STOLEN, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(id: u64, owner_level: Option<i64>) -> Reader {
        Reader { id, name: Some(format!("r{id}")), owner_level }
    }

    fn ids(readers: &Readers) -> Vec<u64> {
        readers.0.iter().map(|reader| reader.id).collect()
    }

    /// Levels of those who are there, level of the newcomer, and what comes of it: who is displaced, or which refusal.
    #[test]
    fn the_table_of_owner_levels_holds() {
        let none: [Option<i64>; 0] = [];
        let refused = |text: &str| Err(text.to_owned());
        for (present, newcomer, expected) in [
            (none.as_slice(), None, Ok(vec![])),
            (&[None; 4], None, Ok(vec![])),
            (&[None; 5], None, refused("which is 5")),
            (&[], Some(0), Ok(vec![])),
            (&[Some(0)], Some(0), Ok(vec![0])),
            (&[Some(1)], Some(5), Ok(vec![0])),
            (&[Some(5)], Some(1), refused("Receiver 'r0' with a higher epoch '5' already exists")),
            (
                &[Some(0)],
                None,
                refused("created with epoch of '0', and so non-epoch receiver is not allowed"),
            ),
            (&[None, None, None], Some(0), Ok(vec![0, 1, 2])),
            (&[None; 5], Some(3), Ok(vec![0, 1, 2, 3, 4])),
        ] {
            let mut readers = Readers::default();
            for (id, level) in (0..).zip(present) {
                readers.admit(reader(id, *level)).unwrap();
            }
            let outcome = readers.admit(reader(99, newcomer));
            let case = format!("{present:?} + {newcomer:?}");
            match (outcome, expected) {
                (Ok(gone), Ok(expected)) => {
                    assert_eq!(gone.iter().map(|d| d.id).collect::<Vec<_>>(), expected, "{case}");
                    assert!(ids(&readers).contains(&99), "{case}");
                }
                (Err(refusal), Err(text)) => {
                    assert!(refusal.description.contains(&text), "{case}: {}", refusal.description);
                    assert!(!ids(&readers).contains(&99), "{case}");
                    assert_eq!(ids(&readers).len(), present.len(), "{case}");
                }
                (outcome, expected) => panic!("{case}: {outcome:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn the_displaced_reader_learns_both_names_and_levels() {
        let mut readers = Readers::default();
        readers.admit(Reader { id: 1, name: None, owner_level: Some(1) }).unwrap();
        let gone = readers.admit(reader(2, Some(5))).unwrap();
        assert_eq!(gone[0].reason.symbol, "amqp:link:stolen");
        let text = "New receiver 'r2' with higher epoch of '5' is created hence current receiver 'nil' with epoch '1' is \
                    getting disconnected";
        assert!(gone[0].reason.description.starts_with(text), "{}", gone[0].reason.description);
    }

    #[test]
    fn the_sixth_reader_is_told_who_reads() {
        let mut readers = Readers::default();
        for id in 0..5 {
            readers.admit(reader(id, None)).unwrap();
        }
        let refusal = readers.admit(reader(5, None)).unwrap_err();
        assert_eq!(refusal.symbol, "amqp:resource-limit-exceeded");
        assert!(refusal.description.contains("r0, r1, r2, r3, r4"), "{}", refusal.description);
    }

    #[test]
    fn a_reader_that_left_makes_room() {
        let mut readers = Readers::default();
        readers.admit(reader(1, Some(7))).unwrap();
        readers.leave(1);
        assert_eq!(readers.admit(reader(2, None)), Ok(vec![]));
    }
}
