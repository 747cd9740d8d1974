use fe2o3_amqp::session::SessionHandle;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::engine::FAREWELL_TIMEOUT;
use crate::stream::KillSwitch;

/// A session. Dropping it ends it in the background.
#[derive(Debug)]
pub(crate) struct Session {
    handle: Option<SessionHandle<()>>,
    switch: KillSwitch,
}

impl Session {
    pub(crate) fn new(handle: SessionHandle<()>, switch: KillSwitch) -> Self {
        Self {
            handle: Some(handle),
            switch,
        }
    }

    pub(crate) fn handle(&mut self) -> &mut SessionHandle<()> {
        self.handle.as_mut().expect("only end and drop take it")
    }

    /// Ends it, and waits a bounded time for the peer.
    pub(crate) async fn end(mut self) {
        if let Some(handle) = self.handle.take() {
            end(handle, self.switch.clone()).await;
        }
    }
}

/// A peer that does not answer an end makes the library spin (amqp-crate §4), so its connection is ended.
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
