//! How much may lie between the links of one session and the socket. The queues of the AMQP library count frames, up to
//! 65 535 of them, whatever their size; a client that never reads would fill them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// In bytes of messages; one message more may begin as long as there are fewer.
const MAX_ON_THE_WAY: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Room {
    on_the_way: AtomicUsize,
    /// Bytes of all messages that links have sent so far, and of those that arrived at the stream.
    sent: AtomicU64,
    arrived: AtomicU64,
    freed: Notify,
}

/// All messages of a session up to one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent(u64);

/// Room for one message, free again when it is dropped before the message was sent.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Room {
    /// Waits until there is room.
    pub(crate) async fn take(&self, bytes: usize) -> Place<'_> {
        loop {
            let freed = self.freed.notified();
            if self.on_the_way.load(Ordering::Acquire) < MAX_ON_THE_WAY {
                self.on_the_way.fetch_add(bytes, Ordering::AcqRel);
                return Place { room: self, bytes };
            }
            freed.await;
        }
    }

    /// What has been sent so far.
    pub(crate) fn sent(&self) -> Sent {
        Sent(self.sent.load(Ordering::Acquire))
    }

    /// Whether all of that has arrived at the stream; it comes in order.
    pub(crate) fn has_passed(&self, sent: Sent) -> bool {
        self.arrived.load(Ordering::Acquire) >= sent.0
    }

    /// So many bytes of messages have arrived at the stream.
    pub(crate) fn arrive(&self, bytes: usize) {
        self.arrived.fetch_add(bytes as u64, Ordering::AcqRel);
        self.free(bytes);
    }

    fn free(&self, bytes: usize) {
        let less = |on_the_way: usize| Some(on_the_way.saturating_sub(bytes));
        let before = self.on_the_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        if before.is_ok_and(|before| before >= MAX_ON_THE_WAY) {
            self.freed.notify_waiters();
        }
    }
}

impl Place<'_> {
    /// The message is on its way; the stream frees the room.
    pub(crate) fn used(mut self) {
        self.room.sent.fetch_add(self.bytes as u64, Ordering::AcqRel);
        self.bytes = 0;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.free(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_until_there_is_some() {
        let room = Room::default();
        room.take(MAX_ON_THE_WAY / 2).await.used();
        room.take(2 * MAX_ON_THE_WAY).await.used();
        assert!(room.take(1).now_or_never().is_none());
        let (place, ()) = tokio::join!(room.take(1), async { room.arrive(2 * MAX_ON_THE_WAY) });
        place.used();
        assert_eq!(room.on_the_way.load(Ordering::Relaxed), MAX_ON_THE_WAY / 2 + 1);
    }

    #[tokio::test]
    async fn what_is_not_sent_leaves_no_trace() {
        let room = Room::default();
        drop(room.take(5).await);
        assert_eq!(room.on_the_way.load(Ordering::Relaxed), 0);
        assert!(room.has_passed(room.sent()));
    }

    #[tokio::test]
    async fn what_is_sent_has_passed_when_all_of_it_has_arrived() {
        let room = Room::default();
        room.take(5).await.used();
        let sent = room.sent();
        room.take(5).await.used();
        assert!(!room.has_passed(sent));
        room.arrive(5);
        assert!(room.has_passed(sent) && !room.has_passed(room.sent()));
    }
}
