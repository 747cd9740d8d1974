//! The connections, sessions and entity links that are alive, so that they can be ended from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::auth::grants::Grants;
use crate::condition::Condition;
use crate::hub::Hub;
use crate::serve::reading::Reading;
use crate::serve::stop::Stop;
use crate::sync::lock;
use crate::wire::shared::Shared;

/// One live connection, session or link.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    /// The session that carries it; itself, if it is one.
    pub(crate) session: Option<u64>,
    pub(crate) stop: Stop,
}

/// What kind of peer it is, and what only that kind has.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Connection(Handles),
    Session,
    Link(LinkInfo),
}

/// What faults do to a connection as a whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handles {
    pub(crate) grants: watch::Sender<Grants>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: Option<SocketAddr>,
}

/// What is known about a link of an entity.
#[derive(Debug, Clone)]
pub(crate) struct LinkInfo {
    pub(crate) connection: u64,
    pub(crate) hub: String,
    pub(crate) name: String,
    /// If a consumer reads over it.
    pub(crate) reading: Option<Arc<Reading>>,
}

/// The list; its length is bounded by what one client may open, and the number of clients.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    next: AtomicU64,
    live: Mutex<BTreeMap<u64, Peer>>,
}

/// Keeps a peer in the list as long as it lives.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) stop: Stop,
    peers: Arc<Peers>,
}

impl Peers {
    pub(crate) fn enter_connection(self: &Arc<Self>, handles: Handles) -> Entry {
        self.enter(|_, stop| Peer { kind: Kind::Connection(handles), session: None, stop })
    }

    pub(crate) fn enter_session(self: &Arc<Self>) -> Entry {
        self.enter(|id, stop| Peer { kind: Kind::Session, session: Some(id), stop })
    }

    pub(crate) fn enter_link(self: &Arc<Self>, session: u64, link: LinkInfo) -> Entry {
        self.enter(|_, stop| Peer { kind: Kind::Link(link), session: Some(session), stop })
    }

    fn enter(self: &Arc<Self>, peer: impl FnOnce(u64, Stop) -> Peer) -> Entry {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let stop = Stop::default();
        // In the list before the caller gets the id: a fault that is injected now must find it.
        lock(&self.live).insert(id, peer(id, stop.clone()));
        Entry { id, stop, peers: Arc::clone(self) }
    }

    /// Asks one link to end; it may be gone.
    pub(crate) fn stop(&self, id: u64, reason: Condition) {
        if let Some(peer) = lock(&self.live).get(&id) {
            peer.stop.stop(reason);
        }
    }

    /// All connections.
    pub(crate) fn connections(&self) -> Vec<(u64, Stop, Handles)> {
        let connection = |(id, peer): (&u64, &Peer)| match &peer.kind {
            Kind::Connection(handles) => Some((*id, peer.stop.clone(), handles.clone())),
            _ => None,
        };
        lock(&self.live).iter().filter_map(connection).collect()
    }

    /// What is known about one link, if it is alive.
    pub(crate) fn link(&self, id: u64) -> Option<LinkInfo> {
        match &lock(&self.live).get(&id)?.kind {
            Kind::Link(link) => Some(link.clone()),
            _ => None,
        }
    }

    /// All peers of the kind that `wanted` picks.
    pub(crate) fn find(&self, wanted: impl Fn(&Peer) -> bool) -> Vec<Peer> {
        lock(&self.live).values().filter(|peer| wanted(peer)).cloned().collect()
    }

    /// Ends all links of a hub that was deleted, as the service does (docs/contract.md §5.4).
    pub(crate) fn end_links_of(&self, hub: &Hub) {
        for link in self.find(|peer| peer.is_link_of(&hub.name)) {
            link.stop.stop(Condition::entity_not_found(&hub.name));
        }
    }

    /// The sessions that carry links of this hub.
    pub(crate) fn sessions_of(&self, hub: &str) -> Vec<Peer> {
        let links = self.find(|peer| peer.is_link_of(hub));
        let sessions: BTreeSet<_> = links.iter().map(|link| link.session).collect();
        self.find(|peer| matches!(peer.kind, Kind::Session) && sessions.contains(&peer.session))
    }
}

impl Peer {
    pub(crate) fn is_link_of(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Link(link) if link.hub.eq_ignore_ascii_case(name))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.peers.live).remove(&self.id);
    }
}
