//! Dead letters: events of Azure Event Hubs that cannot be handled, kept so that their partition can continue.
//!
//! A [`DeadLetter`] is the event, the AMQP message that it came in byte for byte, where it was, and why it was given
//! up. A [`DeadLetterSink`] keeps letters; only then may a checkpoint pass the event. [`FileDeadLetters`] is a sink
//! that needs nothing but a disk. The crate `eventhubs` has one that sends them to another event hub, and the crates
//! of the SQL stores have tables of them.
//!
//! `docs/dead-letters.md` in the repository describes what a letter looks like in each of them.
//!
//! # Limits
//!
//! | what | limit | when it is passed |
//! |---|---|---|
//! | reason; description | [`MAX_REASON`], [`MAX_DESCRIPTION`] | the text is cut |
//! | a line of a file | 256 MiB | the letter is refused |
//! | a letter that is written to a file | [`DEFAULT_TIME_LIMIT`] | an error, and the letter may be written |
//!
//! # Features
//!
//! `testkit`, off by default, has the suite that every sink passes, also one of your own: see `testkit`.

mod error;
mod file;
mod json;
mod letter;
mod line;
mod sink;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use async_trait::async_trait;
pub use error::{BoxError, Error, ErrorKind, Result};
pub use file::{DEFAULT_TIME_LIMIT, FileDeadLetters, Letters};
pub use letter::{DeadLetter, MAX_DESCRIPTION, MAX_REASON};
pub use sink::DeadLetterSink;

/// The example of the README, which runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
