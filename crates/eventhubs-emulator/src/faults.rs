//! Faults on demand: what the service does to its clients on a bad day.

use crate::condition::Condition;
use crate::emulator::Emulator;
use crate::peers::{Kind, Peer};

impl Emulator {
    /// Detaches all links of an event hub, of consumers and of producers, with a condition such as
    /// `amqp:link:detach-forced` (contract §5.4). Returns how many links were hit.
    pub fn detach_links(&self, event_hub: &str, condition: &str, description: &str) -> usize {
        stop_all(
            &self.peers().find(|peer| peer.is_link_of(event_hub)),
            condition,
            description,
        )
    }

    /// Ends all sessions that carry a link of an event hub, with a condition. Returns how many sessions were hit.
    pub fn end_sessions(&self, event_hub: &str, condition: &str, description: &str) -> usize {
        stop_all(&self.peers().sessions_of(event_hub), condition, description)
    }

    /// Closes all connections with a condition such as `amqp:connection:forced`. Returns how many were hit.
    pub fn close_connections(&self, condition: &str, description: &str) -> usize {
        stop_all(&self.connections(), condition, description)
    }

    /// Cuts all connections without a word: clients see the end of the TCP stream. Returns how many were hit.
    pub fn drop_connections(&self) -> usize {
        let connections = self.connections();
        for connection in &connections {
            if let Kind::Connection { cut } = &connection.kind {
                cut.cancel();
            }
        }
        connections.len()
    }

    fn connections(&self) -> Vec<Peer> {
        self.peers()
            .find(|peer| matches!(peer.kind, Kind::Connection { .. }))
    }
}

fn stop_all(peers: &[Peer], condition: &str, description: &str) -> usize {
    for peer in peers {
        peer.stop.stop(Condition::new(condition.to_owned(), description));
    }
    peers.len()
}
