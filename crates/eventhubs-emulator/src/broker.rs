use std::sync::Arc;

use crate::address::Address;
use crate::condition::{ARGUMENT_OUT_OF_RANGE, Condition};
use crate::hub::{Hub, Partition};
use crate::peers::Peers;
use crate::sas::SharedAccessKey;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) hubs: Vec<Arc<Hub>>,
    pub(crate) keys: Vec<SharedAccessKey>,
    pub(crate) peers: Arc<Peers>,
}

impl Broker {
    /// Finds a hub by its name in any case.
    pub(crate) fn hub(&self, name: &str) -> Option<&Arc<Hub>> {
        self.hubs.iter().find(|hub| hub.name.eq_ignore_ascii_case(name))
    }

    /// The hub that an address names.
    pub(crate) fn hub_at(&self, name: &str, address: &str) -> Result<&Arc<Hub>, Condition> {
        self.hub(name).ok_or_else(|| Condition::entity_not_found(address))
    }

    /// The hub of an audience such as `sb://host/hub/consumergroups/group`; `None` for the whole namespace.
    pub(crate) fn hub_of_audience(&self, audience: &str) -> Result<Option<&Arc<Hub>>, Condition> {
        match crate::address::path(audience).split('/').next() {
            None | Some("") => Ok(None),
            Some(name) => self.hub_at(name, audience).map(Some),
        }
    }
}

impl Hub {
    /// The partition with this id, or the text of the service for one that does not exist (contract §5.4).
    pub(crate) fn partition_at(&self, id: &str) -> Result<&Arc<Partition>, Condition> {
        self.partition(id).ok_or_else(|| {
            let text = format!(
                "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 \
                 and {}. Parameter name: PartitionId",
                self.partitions.len() - 1
            );
            Condition::new(ARGUMENT_OUT_OF_RANGE, text)
        })
    }
}

/// The address of a link, as sent and as understood.
#[derive(Debug)]
pub(crate) struct LinkAddress {
    pub(crate) text: String,
    pub(crate) meaning: Address,
}

impl LinkAddress {
    pub(crate) fn new(text: String) -> Self {
        Self {
            meaning: Address::parse(&text),
            text,
        }
    }
}
