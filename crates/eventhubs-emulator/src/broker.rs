//! What all connections share: hubs, keys, limits, clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::address;
use crate::clock::Clock;
use crate::condition::Condition;
use crate::frame::Limits;
#[cfg(feature = "websocket")]
use crate::hosts::AllowedHosts;
use crate::hub::Hub;
use crate::hubs::Hubs;
use crate::intercept::Interceptor;
use crate::peers::Peers;
use crate::requests::RequestLog;
use crate::sas::SharedAccessKey;
use crate::session_flow::Starved;

/// The largest frame that a client may send, in bytes.
const MAX_FRAME_SIZE: u32 = 1024 * 1024;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) hubs: Hubs,
    /// At least one.
    pub(crate) keys: Vec<SharedAccessKey>,
    /// Whether a JSON web token is taken, which nobody can verify here.
    pub(crate) takes_jwt: bool,
    #[cfg(feature = "websocket")]
    pub(crate) hosts: AllowedHosts,
    pub(crate) peers: Arc<Peers>,
    pub(crate) clock: Clock,
    #[cfg(feature = "tls")]
    pub(crate) tls: crate::tls::Tls,
    /// In bytes; what a producer may send in one message.
    pub(crate) max_message_size: u64,
    /// The silence after which a client is given up; zero for any.
    pub(crate) idle_timeout: Duration,
    pub(crate) requests: RequestLog,
    pub(crate) interceptor: Interceptor,
    pub(crate) starved: watch::Sender<Starved>,
}

impl Broker {
    pub(crate) fn limits(&self) -> Limits {
        Limits { frame: MAX_FRAME_SIZE, message: self.max_message_size }
    }

    /// The hub that an address names.
    ///
    /// # Errors
    /// When there is none: what the service says then.
    pub(crate) fn hub_at(&self, name: &str, address: &str) -> Result<Arc<Hub>, Condition> {
        self.hubs.find(name).ok_or_else(|| Condition::entity_not_found(address))
    }

    /// The hub of an audience such as `sb://host/hub/consumergroups/group`; `None` for the whole namespace.
    ///
    /// # Errors
    /// When there is none: what the service says then.
    pub(crate) fn hub_of_audience(&self, audience: &str) -> Result<Option<Arc<Hub>>, Condition> {
        match address::path(audience).split('/').next() {
            None | Some("") => Ok(None),
            Some(name) => self.hub_at(name, audience).map(Some),
        }
    }
}
