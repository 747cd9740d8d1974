//! Faults on demand: what the service does to its clients on a bad day.

use crate::cbs::Grants;
use crate::condition::Condition;
use crate::emulator::Emulator;
use crate::error::Result;
use crate::peers::{Handles, Peer};
use crate::stop::Stop;

impl Emulator {
    /// Detaches all links of an event hub, of consumers and of producers, with a condition such as
    /// `amqp:link:detach-forced` (contract §5.4). Returns how many links were hit.
    pub fn detach_links(&self, event_hub: &str, condition: &str, description: &str) -> usize {
        stop_all(&self.peers().find(|peer| peer.is_link_of(event_hub)), condition, description)
    }

    /// Ends all sessions that carry a link of an event hub, with a condition. Returns how many sessions were hit.
    pub fn end_sessions(&self, event_hub: &str, condition: &str, description: &str) -> usize {
        stop_all(&self.peers().sessions_of(event_hub), condition, description)
    }

    /// Closes all connections with a condition such as `amqp:connection:forced`. Returns how many were hit.
    pub fn close_connections(&self, condition: &str, description: &str) -> usize {
        self.each_connection(|stop, _| stop.stop(Condition::new(condition.to_owned(), description)))
    }

    /// Cuts all connections without a word: clients see the end of the TCP stream. Returns how many were hit.
    pub fn drop_connections(&self) -> usize {
        self.each_connection(|_, handles| handles.cut.cancel())
    }

    /// Leaves all connections half-open: nothing is read or written any more, and the streams stay open, as when a
    /// machine on the way vanished. New connections are served. Returns how many were hit.
    pub fn freeze_connections(&self) -> usize {
        self.each_connection(|_, handles| {
            handles.line.deaf.cancel();
            handles.line.mute.cancel();
        })
    }

    /// Lets all tokens of all connections expire now; each entity link ends with `amqp:unauthorized-access` until its
    /// client puts another token. Returns how many connections were hit.
    pub fn expire_tokens(&self) -> usize {
        self.each_connection(|_, handles| handles.grants.send_modify(Grants::expire))
    }

    /// Refuses the next so many links of an event hub with a condition such as `com.microsoft:server-busy`; 0 ends that.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn refuse_attaches(
        &self,
        event_hub: &str,
        count: usize,
        condition: &str,
        description: &str,
    ) -> Result<()> {
        let reason = Condition::new(condition.to_owned(), description);
        self.hub(event_hub)?.trouble.refuse_attaches(count, reason);
        Ok(())
    }

    /// Rejects the next so many messages of producers, batches count as one, with a condition such as
    /// `com.microsoft:server-busy`; 0 ends that.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn refuse_sends(
        &self,
        event_hub: &str,
        count: usize,
        condition: &str,
        description: &str,
    ) -> Result<()> {
        let reason = Condition::new(condition.to_owned(), description);
        self.hub(event_hub)?.trouble.refuse_sends(count, reason);
        Ok(())
    }

    /// Keeps back all events of an event hub from its consumers, who stay attached. Up to one batch may still arrive.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn pause_deliveries(&self, event_hub: &str) -> Result<()> {
        self.hub(event_hub)?.trouble.pause_deliveries(true);
        Ok(())
    }

    /// Ends [`pause_deliveries`](Self::pause_deliveries).
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn resume_deliveries(&self, event_hub: &str) -> Result<()> {
        self.hub(event_hub)?.trouble.pause_deliveries(false);
        Ok(())
    }

    fn each_connection(&self, hit: impl Fn(&Stop, &Handles)) -> usize {
        let connections = self.peers().connections();
        for (_, stop, handles) in &connections {
            hit(stop, handles);
        }
        connections.len()
    }
}

fn stop_all(peers: &[Peer], condition: &str, description: &str) -> usize {
    for peer in peers {
        peer.stop.stop(Condition::new(condition.to_owned(), description));
    }
    peers.len()
}
