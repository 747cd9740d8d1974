//! The suite finds what it is for: a sink in memory passes it, and fails the right property with each defect.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use eventhubs_dead_letters::testkit::{self, Messages, Place, dead_letter_sink_tests, properties};
use eventhubs_dead_letters::{BoxError, DeadLetter, DeadLetterSink, async_trait};
use eventhubs_types::EventBody;
use tokio::task::yield_now;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    ForgetsTheMessage,
    RefusesTheSecond,
    KeepsTheFirstCount,
    HasNoTimeInTheKey,
    HasNoGroupInTheKey,
    LosesWhatComesAtOnce,
    CutsTexts,
    RefusesTheUndecodable,
    ForgetsAtTheEnd,
    TakesNoLargeEvent,
    WritesInTwoSteps,
}

type Letters = Mutex<Vec<DeadLetter>>;

#[derive(Debug)]
struct InMemory {
    letters: Arc<Letters>,
    defect: Defect,
    is_busy: Mutex<bool>,
}

fn open(place: &Place, defect: Defect) -> InMemory {
    let letters = place.shared(Letters::default);
    if defect == Defect::ForgetsAtTheEnd {
        letters.lock().unwrap().clear();
    }
    InMemory { letters, defect, is_busy: Mutex::default() }
}

async fn read(place: Place) -> Vec<DeadLetter> {
    place.shared(Letters::default).lock().unwrap().clone()
}

impl InMemory {
    fn is_one(&self, a: &DeadLetter, b: &DeadLetter) -> bool {
        a.partition() == b.partition()
            && a.sequence_number() == b.sequence_number()
            && a.scope().event_hub == b.scope().event_hub
            && (self.defect == Defect::HasNoGroupInTheKey || a.scope() == b.scope())
            && (self.defect == Defect::HasNoTimeInTheKey || a.enqueued_time() == b.enqueued_time())
    }

    fn keep(&self, letter: DeadLetter) -> Result<(), BoxError> {
        let mut letters = self.letters.lock().unwrap();
        let known = letters.iter_mut().find(|known| self.is_one(known, &letter));
        match known {
            Some(_) if self.defect == Defect::RefusesTheSecond => return Err("it is there".into()),
            Some(_) if self.defect == Defect::KeepsTheFirstCount => {}
            Some(known) => *known = letter,
            None => letters.push(letter),
        }
        Ok(())
    }
}

#[async_trait]
impl DeadLetterSink for InMemory {
    async fn put(&self, letter: &DeadLetter) -> Result<(), BoxError> {
        let is_undecodable = matches!(letter.event().body, EventBody::Undecodable(_));
        let is_large = letter.message().is_some_and(|message| message.len() > 256 * 1024);
        match self.defect {
            Defect::RefusesTheUndecodable if is_undecodable => return Err("no event".into()),
            Defect::TakesNoLargeEvent if is_large => return Err("too large".into()),
            _ => {}
        }
        let was_busy = std::mem::replace(&mut *self.is_busy.lock().unwrap(), true);
        if self.defect == Defect::WritesInTwoSteps {
            self.keep(letter.clone().with_message(None))?;
        }
        yield_now().await;
        *self.is_busy.lock().unwrap() = false;
        match self.defect {
            Defect::LosesWhatComesAtOnce if was_busy => Ok(()),
            Defect::ForgetsTheMessage => self.keep(letter.clone().with_message(None)),
            Defect::CutsTexts => self.keep(letter.clone().because(letter.reason().trim(), "")),
            _ => self.keep(letter.clone()),
        }
    }
}

mod good {
    use super::*;

    dead_letter_sink_tests!(async |place: Place| open(&place, Defect::None), read);
}

/// Whether the property fails with the defect.
macro_rules! finds {
    ($defect:ident, $property:ident) => {
        let run = || {
            let open = async |place: Place| open(&place, Defect::$defect);
            testkit::run(open, read, Messages::Kept, properties::$property);
        };
        let found = catch_unwind(AssertUnwindSafe(run)).is_err();
        assert!(found, "{} does not find {:?}", stringify!($property), Defect::$defect);
    };
}

#[test]
fn each_defect_fails_the_property_that_is_about_it() {
    finds!(ForgetsTheMessage, a_letter_comes_back_as_written);
    finds!(CutsTexts, a_letter_without_a_message_comes_back_as_written);
    finds!(RefusesTheSecond, a_letter_that_comes_twice_is_no_error);
    finds!(KeepsTheFirstCount, a_letter_that_comes_twice_is_no_error);
    finds!(HasNoTimeInTheKey, an_event_of_a_hub_that_was_created_again_is_another_letter);
    finds!(LosesWhatComesAtOnce, letters_at_once_all_come_back);
    finds!(HasNoGroupInTheKey, letters_of_hostile_names_do_not_mix);
    finds!(CutsTexts, letters_of_hostile_texts_come_back);
    finds!(RefusesTheUndecodable, a_message_that_cannot_be_decoded_comes_back);
    finds!(ForgetsAtTheEnd, letters_survive_a_restart);
    finds!(TakesNoLargeEvent, an_event_of_nearly_one_mebibyte_comes_back);
    finds!(WritesInTwoSteps, a_dropped_put_leaves_the_letter_whole_or_not_at_all);
}
