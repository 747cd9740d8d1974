//! The last step before the socket: frames as the client gets them, completed, within its limits, and garbled while a fault asks for it.

use bytes::BytesMut;

use crate::wire::frame::{self, Limits};
use crate::wire::shared::{MAX_UNSENT, Shared};
use crate::wire::transfers::Delivery;

/// Writes to the end of a buffer.
#[derive(Debug)]
pub(crate) struct FrameWriter<'a> {
    pub(crate) out: &'a mut BytesMut,
    pub(crate) limits: Limits,
    pub(crate) shared: &'a Shared,
}

impl FrameWriter<'_> {
    /// Whether one more frame of a message may be written.
    pub(crate) fn has_space(&self) -> bool {
        self.out.len() < MAX_UNSENT
    }

    /// Writes a control frame, or what is no AMQP frame at all.
    pub(crate) fn put(&mut self, frame: BytesMut) {
        let start = self.out.len();
        let is_amqp = frame::parse(&frame).is_some();
        frame::put_outgoing(frame, self.limits, self.out);
        // Not the protocol headers: garbled ones would be a client that never opens, which is another fault.
        if is_amqp {
            self.garble_from(start);
        }
    }

    /// Writes the next frame of a message; see [`Delivery::put_frame`].
    pub(crate) fn put_transfer(&mut self, delivery: &Delivery<'_>, sent: usize) -> usize {
        let start = self.out.len();
        let carried = delivery.put_frame(sent, self.limits.frame, self.out);
        self.garble_from(start);
        carried
    }

    fn garble_from(&mut self, start: usize) {
        if self.shared.garbles() {
            frame::garble(&mut self.out[start..]);
        }
    }
}
