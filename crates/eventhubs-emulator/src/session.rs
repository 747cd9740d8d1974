//! One session: accept its links and run them.

use std::sync::Arc;

use fe2o3_amqp::acceptor::ListenerSessionHandle;
use fe2o3_amqp_types::definitions::Role;
use fe2o3_amqp_types::performatives::Attach;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::attaching::LinkState;
use crate::connection::{Connection, FAREWELL_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::hub::Hub;
use crate::link::{self, LinkInfo};
use crate::link_ends::{LinkInbox, LinkOutbox};
use crate::outbox::Outbox;
use crate::reading::Reading;
use crate::receiving_link::ReceivingLink;
use crate::sending_link::SendingLink;
use crate::tap::SECOND;

/// What the links of one session share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: u64,
    /// As the client counts.
    pub(crate) channel: u16,
    pub(crate) connection: Arc<Connection>,
    pub(crate) outbox: Arc<Outbox>,
}

impl Session {
    /// What the stream and the task of this link share. On a link that the stream could not read, nothing is transferred.
    fn take_state(&self, attach: &Attach) -> LinkState {
        let line = &self.connection.line;
        line.take_attached(self.channel, &attach.name).unwrap_or_else(|| match attach.role {
            Role::Receiver => LinkState::Sending(Arc::default()),
            Role::Sender => LinkState::Receiving(Arc::new(ReceivingLink::new(Arc::default(), 0, None))),
        })
    }

    /// The way out for a link of this session.
    pub(crate) fn way_out(&self, link: Arc<SendingLink>) -> LinkOutbox {
        LinkOutbox { link, outbox: Arc::clone(&self.outbox), line: Arc::clone(&self.connection.line) }
    }

    /// The way in for a link of this session.
    pub(crate) fn way_in(&self, link: Arc<ReceivingLink>) -> LinkInbox {
        LinkInbox { link, outbox: Arc::clone(&self.outbox), line: Arc::clone(&self.connection.line) }
    }

    pub(crate) fn link_info(&self, hub: &Hub, attach: &Attach, reading: Option<&Arc<Reading>>) -> LinkInfo {
        LinkInfo {
            connection: self.connection.id,
            hub: hub.name.clone(),
            name: attach.name.trim_end_matches(SECOND).to_owned(),
            reading: reading.cloned(),
        }
    }
}

/// Serves one session until the client or a fault ends it.
pub(crate) async fn serve(mut handle: ListenerSessionHandle, channel: u16, connection: Arc<Connection>) {
    let entry = connection.broker.peers.enter_session();
    let cut = connection.cut.clone();
    let state = Session { id: entry.id, channel, outbox: connection.line.outbox(channel), connection };
    // outlives the farewell: a link that is dropped earlier would send a detach of its own
    let mut links = JoinSet::new();
    let reason = tokio::select! {
        () = serve_links(&mut handle, &mut links, &state) => return,
        reason = entry.stop.stopped() => reason,
    };
    if timeout(FAREWELL_TIMEOUT, handle.end_with_error(reason)).await.is_err() {
        // the library spins while it waits for an end that does not come
        cut.cancel();
    }
}

async fn serve_links(handle: &mut ListenerSessionHandle, links: &mut JoinSet<()>, state: &Session) {
    loop {
        tokio::select! {
            attach = handle.next_incoming_attach() => {
                let Some(attach) = attach else { return };
                // Also of a link that is refused or gets no answer: the next one may have its name.
                let link_state = state.take_state(&attach);
                let Some(judged) = link::judge(state, &attach).await else { continue };
                match timeout(HANDSHAKE_TIMEOUT, link::accept(handle, state, attach, judged, link_state)).await {
                    Ok(Some(task)) => drop(links.spawn(task)),
                    Ok(None) => {}
                    Err(_) => return state.connection.cut.cancel(),
                }
            }
            Some(_) = links.join_next() => {}
        }
    }
}
