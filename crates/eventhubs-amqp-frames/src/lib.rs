//! AMQP 1.0 as bytes, for both ends of a connection: values that are checked before anything decodes them,
//! frames that are split and bounded, and a stream that is put under an AMQP library.
//!
//! A [`GuardedStream`] lets only whole and bounded frames through to the library that reads it, shows each of
//! them to a [`Tap`], keeps the connection alive, gives up a peer that takes nothing, and ends when its
//! [`KillSwitch`] is pulled. A tap reads what it sees with [`Performative`] and [`Transfer`], and encoded
//! values with [`Walk`] and [`value_length`].
//!
//! What the bytes mean is left to the tap: credit, messages, filters and tokens are for the crates above.
//!
//! ```
//! use std::io;
//! use std::ops::Range;
//!
//! use bytes::{Bytes, BytesMut};
//! use eventhubs_amqp_frames::{EMPTY_FRAME, GuardedStream, KillSwitch, Limits, Tap};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
//!
//! /// Passes everything on unchanged, and counts the frames of the peer.
//! #[derive(Default)]
//! struct Counting(usize);
//!
//! impl Tap for Counting {
//!     fn incoming(&mut self, block: &Bytes, frame: Range<usize>, passed: &mut BytesMut) -> io::Result<()> {
//!         self.0 += 1;
//!         passed.extend_from_slice(&block[frame]);
//!         Ok(())
//!     }
//!
//!     fn outgoing(&mut self, frame: BytesMut, outgoing: &mut BytesMut) {
//!         outgoing.extend_from_slice(&frame);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> io::Result<()> {
//! let (near, mut peer) = duplex(1024);
//! let mut stream = GuardedStream::new(near, Counting::default(), KillSwitch::default(), Limits::new(512));
//! peer.write_all(&EMPTY_FRAME).await?;
//! stream.read_exact(&mut [0; 8]).await?;
//! assert_eq!(stream.tap().0, 1);
//! peer.write_all(&[0, 0, 0, 4]).await?;
//! let error = stream.read_u8().await.unwrap_err();
//! assert_eq!(error.to_string(), "the peer sent a frame of 4 bytes");
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! | What | Limit | When it is passed |
//! |---|---|---|
//! | frame | [`Limits::max_frame_size`] | the read fails |
//! | nesting of a value, elements of a collection | [`MAX_DEPTH`], [`MAX_ELEMENTS`] | [`Refused`] |
//! | bytes that wait to be written | 256 KiB and one frame | the library waits |
//! | a peer that takes nothing | [`Limits::write_timeout`] | the write fails |
//! | buffers kept for reading | 8, of [`Limits::chunk_size`] each | the memory is freed |

mod chunks;
pub mod descriptor;
pub mod field;
pub mod format;
mod frame;
mod kill_switch;
mod length;
mod missed_credit;
mod performative;
mod stream;
mod tap;
mod transfer;
mod walk;

pub use chunks::chunk_size;
pub use frame::{
    AMQP_FRAME, EMPTY_FRAME, HEADER_LENGTH, Violation, channel, frame_length, put_frame, split_frame,
    whole_frames,
};
pub use kill_switch::KillSwitch;
pub use length::{MapHead, be_number, element_length, value_length};
pub use missed_credit::wake_repeatedly;
pub use performative::{Performative, is_true, string, symbol, uint, ushort};
pub use stream::{GuardedStream, Limits};
pub use tap::Tap;
pub use transfer::Transfer;
pub use walk::{MAX_DEPTH, MAX_ELEMENTS, Refused, Walk};
