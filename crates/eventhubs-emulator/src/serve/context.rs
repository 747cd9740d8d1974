//! What the tasks of one connection, and of one session, share. Who runs them: `connection.rs` and `session.rs`.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp_types::definitions::Role;
use fe2o3_amqp_types::performatives::Attach;
use tokio::sync::watch;

use crate::auth::grants::Grants;
use crate::hub::Hub;
use crate::serve::broker::Broker;
use crate::serve::peers::LinkInfo;
use crate::serve::reading::Reading;
use crate::serve::replies::ReplyLinks;
use crate::wire::attaching::LinkState;
use crate::wire::inspector::SECOND;
use crate::wire::link_ends::{LinkInbox, LinkOutbox};
use crate::wire::numbers::ClientChannel;
use crate::wire::outbox::Outbox;
use crate::wire::receiving_link::ReceivingLink;
use crate::wire::sending_link::SendingLink;
use crate::wire::shared::Shared;

/// How long a client may take for the header, SASL and open, and for each begin and attach.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the sessions and links of one connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) broker: Arc<Broker>,
    pub(crate) replies: ReplyLinks,
    /// Of this connection only.
    pub(crate) grants: watch::Sender<Grants>,
    pub(crate) shared: Arc<Shared>,
}

/// What the links of one session share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) channel: ClientChannel,
    pub(crate) connection: Arc<Connection>,
    pub(crate) outbox: Arc<Outbox>,
}

impl Session {
    /// What the stream and the task of this link share. On a link that the stream could not read, nothing is transferred.
    pub(crate) fn take_state(&self, attach: &Attach) -> LinkState {
        let shared = &self.connection.shared;
        shared.take_attached(self.channel, &attach.name).unwrap_or_else(|| match attach.role {
            Role::Receiver => LinkState::Sending(Arc::default()),
            Role::Sender => LinkState::Receiving(Arc::new(ReceivingLink::new(Arc::default(), 0, None))),
        })
    }

    /// The way out for a link of this session.
    pub(crate) fn way_out(&self, link: Arc<SendingLink>) -> LinkOutbox {
        LinkOutbox { link, outbox: Arc::clone(&self.outbox), shared: Arc::clone(&self.connection.shared) }
    }

    /// The way in for a link of this session.
    pub(crate) fn way_in(&self, link: Arc<ReceivingLink>) -> LinkInbox {
        LinkInbox { link, outbox: Arc::clone(&self.outbox), shared: Arc::clone(&self.connection.shared) }
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
