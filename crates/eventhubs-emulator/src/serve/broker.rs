//! What all connections share: hubs, keys, limits, clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::auth::address;
use crate::auth::sas::SharedAccessKey;
use crate::clock::Clock;
use crate::condition::Condition;
use crate::hub::Hub;
use crate::hub::registry::Registry;
use crate::serve::intercept::Interceptor;
use crate::serve::peers::Peers;
use crate::serve::request_log::RequestLog;
use crate::transport::Transports;
use crate::wire::frame::Limits;
use crate::wire::session_flow::HubsWithoutCredit;

/// The largest frame that a client may send, in bytes.
const MAX_FRAME_SIZE: u32 = 1024 * 1024;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) hubs: Registry,
    /// At least one.
    pub(crate) keys: Vec<SharedAccessKey>,
    /// Whether a JSON web token is taken, which nobody can verify here.
    pub(crate) takes_jwt: bool,
    pub(crate) peers: Arc<Peers>,
    pub(crate) clock: Clock,
    pub(crate) transports: Transports,
    /// In bytes; what a producer may send in one message.
    pub(crate) max_message_size: u64,
    /// The silence after which a client is given up; zero for any.
    pub(crate) idle_timeout: Duration,
    pub(crate) requests: RequestLog,
    pub(crate) interceptor: Interceptor,
    pub(crate) starved: watch::Sender<HubsWithoutCredit>,
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
