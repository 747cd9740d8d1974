//! The credit that producers get: the AMQP library gives it out by itself, and this holds it back.

use std::collections::{BTreeMap, BTreeSet};

use fe2o3_amqp_types::definitions::Role;
use fe2o3_amqp_types::messaging::TargetArchetype;
use fe2o3_amqp_types::performatives::{Attach, Flow};
use tokio::sync::watch;

use crate::address::Address;
use crate::line::LinkId;

/// The event hubs whose producers get no credit, in lower case.
pub(crate) type Starved = BTreeSet<String>;

/// The producers of one connection, by our channel and handle.
#[derive(Debug)]
pub(crate) struct Feeding {
    starved: watch::Receiver<Starved>,
    links: BTreeMap<LinkId, Producer>,
}

#[derive(Debug)]
struct Producer {
    hub: String,
    /// What the library said last, whatever the client got.
    last: Option<Flow>,
}

impl Feeding {
    pub(crate) fn new(starved: watch::Receiver<Starved>) -> Self {
        Self { starved, links: BTreeMap::new() }
    }

    /// The library attaches a link.
    pub(crate) fn attach(&mut self, channel: u16, attach: &Attach) {
        let Some(TargetArchetype::Target(target)) = attach.target.as_deref() else { return };
        let address = target.address.as_deref().unwrap_or_default();
        let (Address::Hub { hub } | Address::Partition { hub, .. }) = Address::parse(address) else { return };
        if attach.role == Role::Receiver {
            let hub = hub.to_ascii_lowercase();
            self.links.insert((channel, attach.handle.0), Producer { hub, last: None });
        }
    }

    /// Forgets the links that `gone` names.
    pub(crate) fn forget(&mut self, gone: impl Fn(LinkId) -> bool) {
        self.links.retain(|link, _| !gone(*link));
    }

    /// What the client gets to hear when the library says this; `None` for just that.
    pub(crate) fn flow(&mut self, channel: u16, flow: &Flow) -> Option<Flow> {
        let handle = flow.handle.as_ref()?.0;
        let producer = self.links.get_mut(&(channel, handle))?;
        producer.last = Some(flow.clone());
        self.starved.borrow().contains(&producer.hub).then(|| Flow { link_credit: Some(0), ..flow.clone() })
    }

    /// What all clients get to hear now, if somebody else starves than before.
    pub(crate) fn changed(&mut self) -> Vec<(u16, Flow)> {
        if !self.starved.has_changed().unwrap_or(false) {
            return Vec::new();
        }
        let starved = self.starved.borrow_and_update();
        let flow = |((channel, _), producer): (&LinkId, &Producer)| {
            let last = producer.last.clone()?;
            let link_credit = if starved.contains(&producer.hub) { Some(0) } else { last.link_credit };
            Some((*channel, Flow { link_credit, ..last }))
        };
        self.links.iter().filter_map(flow).collect()
    }
}
