//! What a stream asks about each frame.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// Sees every frame of a connection, in both directions, and decides what becomes of it.
///
/// A tap is a state machine without I/O in a [`GuardedStream`](crate::GuardedStream), which calls it while it
/// is polled: no method may block. It meets whole frames only. Whatever it appends must be whole frames too.
pub trait Tap {
    /// Takes a whole frame, or protocol header, of the peer, which is `block[frame]`, and appends to `passed`
    /// what the AMQP library is to read in its place: the frame itself, another one, or nothing.
    ///
    /// Only the size of the frame is checked before: [`Performative::of_frame`] checks the rest. A slice of
    /// the block keeps all of it alive, without a copy.
    ///
    /// # Errors
    /// When the connection must end. The library gets the error from its read.
    ///
    /// [`Performative::of_frame`]: crate::Performative::of_frame
    fn incoming(&mut self, block: &Bytes, frame: Range<usize>, passed: &mut BytesMut) -> io::Result<()>;

    /// Ends a series of calls of [`incoming`](Self::incoming): all whole frames of one read were shown.
    /// Appends frames for the peer to `outgoing`.
    fn settle(&mut self, outgoing: &mut BytesMut) {
        let _ = outgoing;
    }

    /// Takes a whole frame, or protocol header, of the library, and appends to `outgoing` what the peer is to
    /// get in its place.
    fn outgoing(&mut self, frame: BytesMut, outgoing: &mut BytesMut);

    /// Appends what neither side has asked for: frames for the peer to `outgoing`, frames for the library to
    /// `passed`.
    ///
    /// Called before each read, and so after each [`KillSwitch::wake`](crate::KillSwitch::wake).
    fn unasked(&mut self, outgoing: &mut BytesMut, passed: &mut BytesMut) {
        let _ = (outgoing, passed);
    }

    /// Returns the silence after which the peer gives this end up, once it has said so. The stream sends an
    /// empty frame at half of it.
    fn idle_timeout(&self) -> Option<Duration> {
        None
    }
}
