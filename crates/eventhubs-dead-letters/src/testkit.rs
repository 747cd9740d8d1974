//! Shows whether a sink keeps what [`DeadLetterSink`] promises: one test per property.
//!
//! A test opens the sink in a [`Place`] of its own, puts letters, and has them read again by a function of the sink's
//! tests. In an integration test of the sink:
//!
//! ```
//! use eventhubs_dead_letters::testkit::{Place, dead_letter_sink_tests};
//! use eventhubs_dead_letters::{DeadLetter, FileDeadLetters};
//!
//! async fn open(place: Place) -> FileDeadLetters {
//!     FileDeadLetters::open(place.folder().join("letters.jsonl")).await.unwrap()
//! }
//!
//! async fn read(place: Place) -> Vec<DeadLetter> {
//!     let letters = FileDeadLetters::read(place.folder().join("letters.jsonl")).unwrap();
//!     letters.map(Result::unwrap).collect()
//! }
//!
//! dead_letter_sink_tests!(open, read);
//! # fn main() {}
//! ```
//!
//! It is a feature of this crate and not a crate of its own, as that of the checkpoint stores is, since it is small and
//! needs nothing but what a sink has anyway.

#![allow(clippy::missing_panics_doc, reason = "a property fails by a panic")]

mod letters;
mod place;
pub mod properties;
mod scene;

use std::time::Duration;

pub use crate::dead_letter_sink_tests;
use crate::{DeadLetter, DeadLetterSink};
pub use place::Place;
pub use scene::Scene;

/// How long one property may take: a sink that hangs fails its test and not the whole run.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What becomes of the message of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Messages {
    /// It is kept byte for byte.
    Kept,
    /// The sink adds to it, so that only one that cannot be decoded is compared.
    Changed,
}

/// Runs one property with the sink that `open` opens, on a runtime with several threads.
pub fn run<S, O, R>(
    open: impl Fn(Place) -> O + Send + Sync + 'static,
    read: impl Fn(Place) -> R + Send + Sync + 'static,
    messages: Messages,
    property: impl AsyncFnOnce(Scene),
) where
    S: DeadLetterSink,
    O: Future<Output = S> + 'static,
    R: Future<Output = Vec<DeadLetter>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime can be built in a test").block_on(async {
        let work = async { property(Scene::open(open, read, messages).await).await };
        let limited = tokio::time::timeout(TIME_LIMIT, work);
        limited.await.expect("the property ends within the time limit");
    });
}

/// Expands to one `#[test]` for each property. The first argument is an `async fn(Place) -> impl DeadLetterSink`, the
/// second an `async fn(Place) -> Vec<DeadLetter>` that reads all letters in the place, in any order. A letter that was put
/// twice may be read once or twice. The third argument says what becomes of messages. Default: [`Messages::Kept`].
#[macro_export]
macro_rules! dead_letter_sink_tests {
    ($open:expr, $read:expr) => {
        $crate::dead_letter_sink_tests!($open, $read, $crate::testkit::Messages::Kept);
    };
    ($open:expr, $read:expr, $messages:expr) => {
        $crate::dead_letter_sink_tests! { @each $open, $read, $messages;
            a_letter_comes_back_as_written
            a_letter_without_a_message_comes_back_as_written
            a_letter_that_comes_twice_is_no_error
            an_event_of_a_hub_that_was_created_again_is_another_letter
            letters_at_once_all_come_back
            letters_of_hostile_names_do_not_mix
            letters_of_hostile_texts_come_back
            a_message_that_cannot_be_decoded_comes_back
            letters_survive_a_restart
            an_event_of_nearly_one_mebibyte_comes_back
            a_dropped_put_leaves_the_letter_whole_or_not_at_all
        }
    };
    (@each $open:expr, $read:expr, $messages:expr; $($property:ident)*) => {$(
        #[test]
        fn $property() {
            $crate::testkit::run($open, $read, $messages, $crate::testkit::properties::$property);
        }
    )*};
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_property_is_in_the_suite() {
        let suite = include_str!("testkit.rs");
        let properties = include_str!("testkit/properties.rs");
        let names = properties.lines().filter_map(|line| line.strip_prefix("pub async fn "));
        for (property, _) in names.filter_map(|line| line.split_once('(')) {
            assert!(suite.contains(&format!(" {property}\n")), "{property}");
        }
    }
}
