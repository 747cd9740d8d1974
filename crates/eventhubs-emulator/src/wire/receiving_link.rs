//! The state of one link on which the emulator receives: what has come in, and the credit of the client. The stream writes it, the task
//! of the link takes the messages. Who reads the transfers: `inspector.rs`. Tests: here, and `tests/it/send.rs`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use eventhubs_amqp_frames::Transfer;
use tokio::sync::Notify;

use crate::sync::lock;
use crate::wire::numbers::{ClientDelivery, OurHandle, ReceivedCount};

/// How many messages a client may send ahead of their outcomes.
const CREDIT: u32 = 200;
/// In bytes of whole messages of one connection that no task has taken. While there are as many, the stream reads no more. What is
/// not whole does not count: the rest of it could never come.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Where the messages of one client link come in.
#[derive(Debug)]
pub(crate) struct ReceivingLink {
    state: Mutex<State>,
    arrived: Notify,
    waiting: Arc<WaitingBytes>,
    /// In bytes.
    max_message_size: u64,
    /// The event hub that it leads to, in lower case.
    pub(crate) hub: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    partial: Option<Partial>,
    /// Where messages of many frames are put together. Its memory is used again once the message before is gone, as it mostly is:
    /// fresh pages would cost as much as the copy.
    buffer: BytesMut,
    whole: VecDeque<Message>,
    /// Of the messages in `whole`.
    bytes: usize,
    received: ReceivedCount,
    /// Those that have their outcome.
    done: ReceivedCount,
    /// What the client was told last. `None` until the link is served.
    limit: Option<ReceivedCount>,
    refusal: Option<Refusal>,
    /// Our handle, once our attach is written.
    handle: Option<OurHandle>,
    closed: bool,
}

/// One message that came in.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: ClientDelivery,
    pub(crate) is_settled: bool,
    pub(crate) format: u32,
    pub(crate) bytes: Bytes,
}

/// A message of which frames are missing.
#[derive(Debug)]
struct Partial {
    id: ClientDelivery,
    is_settled: bool,
    format: u32,
    /// How many of its bytes are in the buffer of the link, which has no others.
    size: usize,
}

/// The credit of a link, as a flow says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) handle: OurHandle,
    /// How many deliveries have come.
    pub(crate) delivery_count: ReceivedCount,
    pub(crate) credit: u32,
}

/// Why a link has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A message of at least this many bytes.
    TooLarge(usize),
    /// A message without credit.
    NoCredit,
}

/// The bytes of whole messages on all links of a connection.
#[derive(Debug, Default)]
pub(crate) struct WaitingBytes(AtomicUsize);

impl WaitingBytes {
    pub(crate) fn are_too_many(&self) -> bool {
        self.0.load(Ordering::Acquire) >= MAX_WAITING
    }
}

impl ReceivingLink {
    pub(crate) fn new(waiting: Arc<WaitingBytes>, max_message_size: u64, hub: Option<String>) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), waiting, max_message_size, hub }
    }

    /// Our attach is written, so that flows may follow.
    pub(crate) fn attach(&self, handle: OurHandle) {
        self.change(|state| state.handle = Some(handle));
    }

    /// Takes a transfer. What comes after a refusal is dropped.
    pub(crate) fn transfer(&self, transfer: Transfer, payload: Bytes) {
        self.change(|state| {
            if state.closed || state.refusal.is_some() {
                return;
            }
            // Kept and not returned: what came whole before it still has to be stored and settled, so the
            // task hears of it last.
            if let Err(refusal) = state.put(transfer, payload, self.max_message_size) {
                state.refusal = Some(refusal);
            }
            if !state.whole.is_empty() || state.refusal.is_some() {
                self.arrived.notify_one();
            }
        });
    }

    /// Closes the link for good: what has come in is dropped.
    pub(crate) fn close(&self) {
        self.change(|state| *state = State { closed: true, ..State::default() });
    }

    /// Waits for the next message. Returns the refusal of one once all before it are taken. Of a closed link nothing comes: its task
    /// ends when the AMQP library knows too, or it would send a detach of its own.
    pub(crate) async fn receive(&self) -> Result<Message, Refusal> {
        loop {
            let next = self.change(|state| match (state.take(), state.refusal) {
                (Some(message), _) => Some(Ok(message)),
                (None, refusal) => refusal.map(Err),
            });
            match next {
                Some(next) => return next,
                None => self.arrived.notified().await,
            }
        }
    }

    /// Begins to serve the link, which grants the first credit.
    pub(crate) fn serve(&self) {
        self.change(|state| state.limit = Some(state.received));
    }

    /// Counts a message that has its outcome. Returns whether it is time to grant more credit.
    pub(crate) fn done(&self) -> bool {
        self.change(|state| {
            state.done = state.done.next();
            let granted = state.limit.map_or(0, |limit| limit.since(state.done));
            // At half, so that a producer that sends all the time does not run dry, and a flow is written for
            // a hundred messages and not for each.
            granted <= CREDIT / 2
        })
    }

    /// Grants what outcomes allow. Returns `None` before the attach, and while nobody serves the link.
    pub(crate) fn grant(&self) -> Option<Grant> {
        self.change(|state| {
            let handle = state.handle?;
            state.limit = Some(state.limit.map(|_| state.done.after(CREDIT))?);
            Some(Grant { handle, delivery_count: state.received, credit: state.credit() })
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let before = state.bytes;
        let changed = change(&mut state);
        let after = state.bytes;
        // One of both is 0; in between, the sum of all links may be too high by what this one has.
        self.waiting.0.fetch_add(after.saturating_sub(before), Ordering::AcqRel);
        self.waiting.0.fetch_sub(before.saturating_sub(after), Ordering::AcqRel);
        changed
    }
}

impl Drop for ReceivingLink {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn put(&mut self, transfer: Transfer, payload: Bytes, max_message_size: u64) -> Result<(), Refusal> {
        let mut message = match self.partial.take() {
            Some(message) => message,
            None => self.begin(transfer)?,
        };
        // The client has spent the credit, and no outcome will ever count it, so it counts as done here.
        if transfer.aborted {
            self.done = self.done.next();
            self.buffer.clear();
            return Ok(());
        }
        message.size += payload.len();
        // Before the bytes are kept: a client that never sends the last frame must not fill the memory.
        if message.size as u64 > max_message_size {
            return Err(Refusal::TooLarge(message.size));
        }
        // Any frame of a delivery may say so, not only the first (AMQP 1.0 part 2, §2.7.5).
        message.is_settled |= transfer.settled;
        if transfer.more {
            self.buffer.extend_from_slice(&payload);
            self.partial = Some(message);
        } else {
            self.bytes += message.size;
            let bytes = self.with_last(payload);
            let Partial { id, is_settled, format, .. } = message;
            self.whole.push_back(Message { id, is_settled, format, bytes });
        }
        Ok(())
    }

    /// Returns the bytes of the message that this frame ends. A message of one frame stays in the buffer that it was read into.
    fn with_last(&mut self, payload: Bytes) -> Bytes {
        if self.buffer.is_empty() {
            return payload;
        }
        self.buffer.extend_from_slice(&payload);
        // `split` leaves the capacity after the message with the buffer, for the next one.
        self.buffer.split().freeze()
    }

    fn begin(&mut self, transfer: Transfer) -> Result<Partial, Refusal> {
        if self.credit() == 0 {
            return Err(Refusal::NoCredit);
        }
        self.received = self.received.next();
        Ok(Partial {
            id: ClientDelivery::new(transfer.delivery_id.unwrap_or(0)),
            is_settled: false,
            format: transfer.message_format.unwrap_or(0),
            size: 0,
        })
    }

    fn take(&mut self) -> Option<Message> {
        let message = self.whole.pop_front()?;
        self.bytes -= message.bytes.len();
        Some(message)
    }

    fn credit(&self) -> u32 {
        self.limit.map_or(0, |limit| limit.since(self.received))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const HANDLE: OurHandle = OurHandle(3);
    const FRAME: Transfer = Transfer {
        handle: 0,
        delivery_id: Some(7),
        message_format: None,
        settled: false,
        more: false,
        aborted: false,
        payload: 0,
    };

    fn served(max_message_size: u64) -> (ReceivingLink, Arc<WaitingBytes>) {
        let waiting = Arc::<WaitingBytes>::default();
        let link = ReceivingLink::new(Arc::clone(&waiting), max_message_size, None);
        link.serve();
        assert_eq!(link.grant(), None, "it is not attached");
        link.attach(HANDLE);
        assert_eq!(link.grant(), Some(grant(0, CREDIT)));
        (link, waiting)
    }

    fn grant(delivery_count: u32, credit: u32) -> Grant {
        Grant { handle: HANDLE, delivery_count: ReceivedCount::new(delivery_count), credit }
    }

    fn next(link: &ReceivingLink) -> Option<Result<Vec<u8>, Refusal>> {
        let next = link.receive().now_or_never()?;
        Some(next.map(|message| message.bytes.to_vec()))
    }

    #[test]
    fn a_message_is_whole_with_its_last_frame() {
        let (link, waiting) = served(10);
        link.transfer(Transfer { more: true, ..FRAME }, "ab".into());
        assert_eq!((next(&link), waiting.0.load(Ordering::Relaxed)), (None, 0));
        link.transfer(FRAME, "cd".into());
        assert_eq!(waiting.0.load(Ordering::Relaxed), 4);
        assert_eq!(next(&link), Some(Ok(b"abcd".to_vec())));
        assert_eq!(waiting.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_aborted_message_does_not_come_and_is_done() {
        let (link, waiting) = served(10);
        link.transfer(Transfer { more: true, ..FRAME }, "ab".into());
        link.transfer(Transfer { aborted: true, ..FRAME }, "cd".into());
        assert_eq!((next(&link), waiting.0.load(Ordering::Relaxed)), (None, 0));
        assert_eq!(link.grant(), Some(grant(1, CREDIT)));
    }

    /// As soon as it is too large, not once it is whole: that could take all memory.
    #[test]
    fn a_message_that_is_too_large_comes_after_those_before_it_as_a_refusal() {
        let (link, waiting) = served(3);
        link.transfer(FRAME, "abc".into());
        link.transfer(Transfer { more: true, ..FRAME }, "abc".into());
        link.transfer(Transfer { more: true, ..FRAME }, "d".into());
        link.transfer(FRAME, "dropped".into());
        assert_eq!(next(&link), Some(Ok(b"abc".to_vec())));
        assert_eq!(next(&link), Some(Err(Refusal::TooLarge(4))));
        assert_eq!(waiting.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn credit_is_granted_again_when_half_of_it_is_used() {
        let (link, _) = served(10);
        for _ in 0..CREDIT {
            link.transfer(FRAME, Bytes::new());
        }
        link.transfer(FRAME, Bytes::new());
        let due: Vec<_> = (0..CREDIT / 2).map(|_| link.done()).collect();
        assert_eq!(due.iter().position(|due| *due), Some(CREDIT as usize / 2 - 1));
        assert_eq!(link.grant(), Some(grant(CREDIT, CREDIT / 2)));
        for _ in 0..CREDIT {
            assert!(matches!(next(&link), Some(Ok(_))));
        }
        assert_eq!(next(&link), Some(Err(Refusal::NoCredit)), "one more than was granted");
    }

    #[test]
    fn a_link_that_nobody_serves_takes_nothing() {
        let link = ReceivingLink::new(Arc::default(), 10, None);
        link.attach(HANDLE);
        assert_eq!(link.grant(), None);
        link.transfer(FRAME, Bytes::new());
        assert_eq!(next(&link), Some(Err(Refusal::NoCredit)));
    }

    #[test]
    fn a_closed_link_has_nothing() {
        let (link, waiting) = served(10);
        link.transfer(FRAME, "ab".into());
        link.close();
        link.transfer(FRAME, "ab".into());
        assert_eq!((next(&link), waiting.0.load(Ordering::Relaxed)), (None, 0));
    }
}
