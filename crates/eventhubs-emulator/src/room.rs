//! How much may lie between the links of one session and the socket. The queues of the AMQP library count frames, up to
//! 65 535 of them, whatever their size; a client that never reads would fill them.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// In bytes of messages; one message more may begin as long as there are fewer.
const MAX_ON_THE_WAY: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Room {
    on_the_way: AtomicUsize,
    freed: Notify,
}

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

    /// So many bytes of messages have arrived at the stream.
    pub(crate) fn free(&self, bytes: usize) {
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
        let (place, ()) = tokio::join!(room.take(1), async { room.free(2 * MAX_ON_THE_WAY) });
        place.used();
        assert_eq!(room.on_the_way.load(Ordering::Relaxed), MAX_ON_THE_WAY / 2 + 1);
    }

    #[tokio::test]
    async fn what_is_not_sent_leaves_no_trace() {
        let room = Room::default();
        drop(room.take(5).await);
        assert_eq!(room.on_the_way.load(Ordering::Relaxed), 0);
    }
}
