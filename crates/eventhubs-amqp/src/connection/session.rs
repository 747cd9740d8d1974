//! One AMQP session: begun, used by one link, and ended within a time limit.
//!
//! Tests: below.

use std::time::Duration;

use eventhubs_amqp_frames::KillSwitch;
use fe2o3_amqp::session::SessionHandle;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long the peer may take to answer a detach, an end or a close.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// A session. Dropping it ends it in the background.
#[derive(Debug)]
pub(crate) struct Session {
    handle: Option<SessionHandle<()>>,
    switch: KillSwitch,
}

impl Session {
    pub(crate) fn new(handle: SessionHandle<()>, switch: KillSwitch) -> Self {
        Self { handle: Some(handle), switch }
    }

    pub(crate) fn handle(&mut self) -> &mut SessionHandle<()> {
        self.handle.as_mut().expect("only end and drop take it")
    }

    /// Ends it, and waits a bounded time for the peer; in a task, so that it does not depend on who waits.
    pub(crate) async fn end(mut self) {
        if let Some(handle) = self.handle.take() {
            let _ = tokio::spawn(end(handle, self.switch.clone())).await;
        }
    }
}

/// A peer that does not answer an end makes the library spin (docs/amqp-crate.md §4), so its connection is
/// ended.
async fn end(mut handle: SessionHandle<()>, switch: KillSwitch) {
    if timeout(FAREWELL_TIMEOUT, handle.end()).await.is_err() {
        switch.pull();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (Some(handle), Ok(runtime)) = (self.handle.take(), Handle::try_current()) {
            runtime.spawn(end(handle, self.switch.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::time::{Instant, advance, timeout};

    use super::FAREWELL_TIMEOUT;
    use crate::ErrorKind;
    use crate::testing::peer::{LIMIT, Peer};

    /// docs/amqp-crate.md §4: the library would spin a core forever.
    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_dropped_ends_its_connection_if_the_peer_is_silent() {
        let (peer, connection) = Peer::connect().await;
        let session = connection.engine().begin().await.unwrap();
        peer.go_silent();
        tokio::task::yield_now().await;
        drop(session);
        tokio::task::yield_now().await;
        assert!(connection.engine().is_live());
        // The library keeps the runtime busy, so the clock does not move by itself.
        advance(FAREWELL_TIMEOUT + Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        assert!(!connection.engine().is_live());
    }

    /// Cancel safety of all that closes.
    #[tokio::test(start_paused = true)]
    async fn an_end_dropped_while_it_waits_ends_a_connection_to_a_silent_peer() {
        let (peer, connection) = Peer::connect().await;
        let session = connection.engine().begin().await.unwrap();
        peer.go_silent();
        tokio::task::yield_now().await;
        assert!(session.end().now_or_never().is_none());
        tokio::task::yield_now().await;
        assert!(connection.engine().is_live());
        advance(FAREWELL_TIMEOUT + Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        assert!(!connection.engine().is_live());
    }

    /// A caller that waited for a token may arrive after the end; its partition then stalled forever.
    #[tokio::test(start_paused = true)]
    async fn no_session_begins_on_a_connection_that_has_ended() {
        let (_peer, connection) = Peer::connect().await;
        connection.engine().close().await;
        let begun = timeout(LIMIT, connection.engine().begin()).await.expect("an answer");
        assert_eq!(begun.unwrap_err().kind(), ErrorKind::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_does_not_begin_ends_its_connection() {
        let (peer, connection) = Peer::connect().await;
        peer.go_silent();
        tokio::task::yield_now().await;
        let start = Instant::now();
        assert_eq!(connection.engine().begin().await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(start.elapsed().as_secs(), LIMIT.as_secs());
        assert!(!connection.engine().is_live());
    }
}
