//! Faults on demand: what the service does to its clients on a bad day.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::auth::grants::Grants;
use crate::condition::Condition;
use crate::emulator::Emulator;
use crate::error::Result;
use crate::hub::faults::Throttle;
use crate::serve::intercept::{Request, Verdict};
use crate::serve::peers::{Handles, Peer};
use crate::serve::stop::Stop;
use crate::wire::session_flow::HubsWithoutCredit;

impl Emulator {
    /// Detaches all links of an event hub, of consumers and of producers, with a condition such as
    /// `amqp:link:detach-forced`. Returns how many links were hit.
    pub fn detach_links(&self, event_hub: &str, condition: &str, description: &str) -> usize {
        stop_all(&self.peers().find(|peer| peer.is_link_of(event_hub)), condition, description)
    }

    /// Fails an event hub over to its geo-replica, which has all its events: its links end with `amqp:link:detach-forced`. From
    /// then on its offsets are no numbers any more but `era:position`, of earlier events too, where the era counts the fail-overs;
    /// who comes with a number is refused with `com.microsoft:georeplication:invalid-offset`. Returns how many
    /// links were hit.
    ///
    /// # Errors
    /// When the hub does not exist, or the data folder cannot be written.
    pub fn fail_over(&self, event_hub: &str) -> Result<usize> {
        self.hubs().fail_over(event_hub)?;
        let text = "The event hub has failed over to its geo-replica.";
        Ok(self.detach_links(event_hub, "amqp:link:detach-forced", text))
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
        self.each_connection(|_, handles| handles.shared.switch.pull())
    }

    /// Leaves all connections half-open: nothing is read or written any more, and the streams stay open, as when a
    /// machine on the way vanished. New connections are served. Returns how many were hit.
    pub fn freeze_connections(&self) -> usize {
        self.each_connection(|_, handles| {
            handles.shared.reads_nothing.cancel();
            handles.shared.discards_writes.cancel();
        })
    }

    /// Half of [`freeze_connections`](Self::freeze_connections): nothing is read any more, and events still go out.
    pub fn deafen_connections(&self) -> usize {
        self.each_connection(|_, handles| handles.shared.reads_nothing.cancel())
    }

    /// The other half of [`freeze_connections`](Self::freeze_connections): what is written is lost, and clients are still
    /// heard.
    pub fn mute_connections(&self) -> usize {
        self.each_connection(|_, handles| handles.shared.discards_writes.cancel())
    }

    /// Garbles the next so many frames to each client: no AMQP library can decode them. Returns how many connections were
    /// hit.
    pub fn corrupt_frames(&self, count: u32) -> usize {
        self.each_connection(|_, handles| handles.shared.garbled.store(count, Ordering::Relaxed))
    }

    /// Writes no more than this to each client, in bytes per second; 0 ends that. Returns how many connections were hit.
    pub fn slow_connections(&self, bytes_per_second: u32) -> usize {
        self.each_connection(|_, handles| handles.shared.pace.store(bytes_per_second, Ordering::Relaxed))
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
        self.hub(event_hub)?.faults.refuse_attaches(count, reason);
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
        self.hub(event_hub)?.faults.refuse_sends(count, reason);
        Ok(())
    }

    /// Keeps back all events of an event hub from its consumers, who stay attached. Up to one batch may still arrive.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn pause_deliveries(&self, event_hub: &str) -> Result<()> {
        self.hub(event_hub)?.faults.pause_deliveries(true);
        Ok(())
    }

    /// Ends [`pause_deliveries`](Self::pause_deliveries).
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn resume_deliveries(&self, event_hub: &str) -> Result<()> {
        self.hub(event_hub)?.faults.pause_deliveries(false);
        Ok(())
    }

    /// Sends each batch of events, up to 256 of them, so much later; zero ends that.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn delay_deliveries(&self, event_hub: &str, by: Duration) -> Result<()> {
        self.hub(event_hub)?.faults.delay_deliveries(by);
        Ok(())
    }

    /// Answers requests to `$cbs` and `$management` so much later; zero ends that.
    pub fn delay_requests(&self, by: Duration) {
        self.broker().interceptor.delay_requests(by);
    }

    /// Answers attaches, messages of producers and reads of properties with `com.microsoft:server-busy`.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn throttle(&self, event_hub: &str, throttle: Throttle) -> Result<()> {
        self.hub(event_hub)?.faults.throttle(throttle);
        Ok(())
    }

    /// Takes all credit from the producers of an event hub, and gives later ones none; what is on its way is kept.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn starve_producers(&self, event_hub: &str) -> Result<()> {
        self.feed(event_hub, |starved, hub| _ = starved.insert(hub))
    }

    /// Ends [`starve_producers`](Self::starve_producers).
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn feed_producers(&self, event_hub: &str) -> Result<()> {
        self.feed(event_hub, |starved, hub| _ = starved.remove(&hub))
    }

    fn feed(&self, event_hub: &str, change: impl FnOnce(&mut HubsWithoutCredit, String)) -> Result<()> {
        let hub = self.hub(event_hub)?.name.to_ascii_lowercase();
        self.broker().starved.send_modify(|starved| change(starved, hub));
        self.each_connection(|_, handles| handles.shared.wake());
        Ok(())
    }

    /// Lets `judge` decide about each request of a client from now on, in place of an earlier one. It is called by the
    /// tasks that serve the clients, so it must not block.
    pub fn intercept(&self, judge: impl Fn(&Request<'_>) -> Verdict + Send + Sync + 'static) {
        self.broker().interceptor.set(Some(Arc::new(judge)));
    }

    /// Ends [`intercept`](Self::intercept).
    pub fn stop_intercepting(&self) {
        self.broker().interceptor.set(None);
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
