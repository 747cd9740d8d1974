//! The suite that every sink must pass.

use eventhubs_dead_letters::testkit::{Place, dead_letter_sink_tests};
use eventhubs_dead_letters::{DeadLetter, FileDeadLetters};

async fn open(place: Place) -> FileDeadLetters {
    crate::open(&place.folder().join("letters.jsonl")).await
}

async fn read(place: Place) -> Vec<DeadLetter> {
    let letters = FileDeadLetters::read(place.folder().join("letters.jsonl")).unwrap();
    letters.map(Result::unwrap).collect()
}

dead_letter_sink_tests!(open, read);
