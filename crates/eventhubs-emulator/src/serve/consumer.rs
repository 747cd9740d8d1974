//! A link on which a consumer reads one partition (docs/contract.md §5, §6.1).

use std::sync::Arc;

use bytes::Bytes;
use eventhubs_types::StartingPosition;
use fe2o3_amqp::Sender;
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::{Symbol, Value};

use crate::clock::Clock;
use crate::codec::encoded::MapWriter;
use crate::condition::{ARGUMENT_ERROR, Condition};
use crate::hub::readers::Reader;
use crate::hub::storage::StoredEvent;
use crate::hub::{Hub, Partition};
use crate::serve::context::Session;
use crate::serve::farewell;
use crate::serve::filter;
use crate::serve::peers::{Entry, Peers};
use crate::serve::reading::Reading;
use crate::serve::stop::Stop;
use crate::wire::link_ends::LinkOutbox;

/// How many events are looked up at once.
const BATCH: usize = 256;
const OWNER_LEVEL: &str = "com.microsoft:epoch";
const RECEIVER_NAME: &str = "com.microsoft:receiver-name";
const RUNTIME_METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";

#[derive(Debug)]
pub(crate) struct ConsumerLink {
    admission: Admission,
    reading: Arc<Reading>,
    outbox: LinkOutbox,
    runtime_metric: bool,
    clock: Clock,
    hub: Arc<Hub>,
}

/// What admits the reader to its partition; the partition may admit others once this is dropped.
#[derive(Debug)]
struct Admission {
    partition: Arc<Partition>,
    consumer_group: String,
    entry: Entry,
}

impl ConsumerLink {
    /// Checks what the attach asks for, and admits the reader, which may displace others.
    pub(crate) fn admit(
        session: &Session,
        attach: &Attach,
        address: &str,
        [hub, group, partition]: [&str; 3],
        outbox: LinkOutbox,
    ) -> Result<Self, Condition> {
        let broker = &session.connection.broker;
        let hub = broker.hub_at(hub, address)?;
        hub.faults.attach()?;
        let group = hub.consumer_group(group).ok_or_else(|| Condition::entity_not_found(address))?;
        let partition = hub.partition_at(partition)?;
        let next = partition.log().resolve(&starting_position(attach)?)?;
        let reading = Arc::new(Reading::from(next, Arc::clone(&outbox.link)));
        // Entered first and looked afterwards: the deletion of a hub ends all links of the list, and a link
        // that enters after that sees it here.
        let entry = broker.peers.enter_link(session.id, session.link_info(&hub, attach, Some(&reading)));
        hub.still_exists()?;
        Ok(Self {
            admission: Admission::take(&partition, group, entry, attach, &broker.peers)?,
            reading,
            outbox,
            runtime_metric: desires(attach, RUNTIME_METRIC),
            clock: broker.clock.clone(),
            hub,
        })
    }

    /// Ends the link from outside.
    pub(crate) fn stop(&self) -> Stop {
        self.admission.entry.stop.clone()
    }

    /// Sends events as the consumer grants credit, until it leaves or is sent away.
    pub(crate) async fn run(self, mut sender: Sender) {
        let stop = self.stop();
        let reason = tokio::select! {
            // whoever is sent away gets nothing after that
            biased;
            reason = stop.stopped() => reason,
            reason = self.deliver(&mut sender) => match reason {
                Some(reason) => reason,
                None => return,
            },
        };
        // The reader that displaced it is admitted already; another one may be from here on.
        drop(self);
        farewell::close_sender(sender, reason).await;
    }

    /// Says why the link has to end, unless it has ended.
    async fn deliver(&self, sender: &mut Sender) -> Option<Condition> {
        loop {
            let next = self.reading.next();
            // Under one lock: both go by the same oldest event, which may expire at any time.
            let (read, awaited) = {
                let log = self.admission.partition.log();
                (log.read(next, BATCH), log.awaited(next))
            };
            let events = match read {
                Ok(events) => events,
                Err(reason) => return Some(reason),
            };
            if events.is_empty() {
                tokio::select! {
                    () = self.admission.partition.reaches(awaited) => {}
                    () = self.outbox.drained() => {}
                    _ = sender.on_detach() => return None,
                }
            }
            tokio::select! {
                biased;
                () = self.send(&events) => {}
                _ = sender.on_detach() => return None,
            }
        }
    }

    /// Sends all of these events, as credit, space and faults allow.
    async fn send(&self, events: &[StoredEvent]) {
        let mut rest = events;
        while !rest.is_empty() {
            // Asked again for each portion: deliveries may be paused while a client has no credit, and what
            // it grants later must wait too. The delay is for the batch, once.
            self.hub.faults.may_deliver(rest.len() == events.len()).await;
            let count = self.outbox.send(|| rest.iter().map(|event| self.message(event))).await;
            let (sent, unsent) = rest.split_at(count);
            if let Some(last) = sent.last() {
                // After the send, which may be dropped while it waits: what did not go out must not count as
                // read.
                self.reading.delivered_up_to(last.stamp.sequence_number, count);
            }
            rest = unsent;
        }
    }

    fn message(&self, event: &StoredEvent) -> Bytes {
        if self.runtime_metric {
            event.message.with_delivery_annotations(|info| self.put_runtime_info(info))
        } else {
            event.message.bytes.clone()
        }
    }

    fn put_runtime_info(&self, info: &mut MapWriter<'_>) {
        let head = self.admission.partition.log().head();
        info.put_long("last_enqueued_sequence_number", head.sequence_number);
        info.put_string("last_enqueued_offset", head.offset);
        info.put_timestamp("last_enqueued_time_utc", head.enqueued_ms);
        info.put_timestamp("runtime_info_retrieval_time_utc", self.clock.now_ms());
    }
}

impl Admission {
    fn take(
        partition: &Arc<Partition>,
        group: String,
        entry: Entry,
        attach: &Attach,
        peers: &Peers,
    ) -> Result<Self, Condition> {
        let owner_level = property(attach, OWNER_LEVEL).and_then(integer);
        let name = property(attach, RECEIVER_NAME).and_then(text);
        let displaced = partition.admit(&group, Reader { id: entry.id, name, owner_level })?;
        for reader in displaced {
            peers.stop(reader.id, reader.reason);
        }
        Ok(Self { partition: Arc::clone(partition), consumer_group: group, entry })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.partition.leave(&self.consumer_group, self.entry.id);
    }
}

/// From the selector filter; the beginning without one.
fn starting_position(attach: &Attach) -> Result<StartingPosition, Condition> {
    let filters = attach.source.as_ref().and_then(|source| source.filter.as_ref());
    let Some(selector) = filters.and_then(|filters| filters.get(&Symbol::from(filter::SELECTOR))) else {
        return Ok(StartingPosition::Earliest);
    };
    let expression = match selector {
        Value::Described(described) => &described.value,
        plain => plain,
    };
    match expression {
        Value::String(expression) => filter::parse(expression),
        _ => {
            Err(Condition::new(ARGUMENT_ERROR, "The filter is not a valid amqp filter for EventHub entities"))
        }
    }
}

/// The capability with which a consumer asks for the properties of the partition with each event
/// (docs/contract.md §5.1).
fn desires(attach: &Attach, capability: &str) -> bool {
    let wanted = |symbol: &Symbol| symbol.as_str() == capability;
    attach.desired_capabilities.as_ref().is_some_and(|desired| desired.iter().any(wanted))
}

fn property<'a>(attach: &'a Attach, name: &str) -> Option<&'a Value> {
    attach.properties.as_ref()?.get(&Symbol::from(name))
}

fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::Long(n) => Some(n),
        Value::Int(n) => Some(n.into()),
        Value::Uint(n) => Some(n.into()),
        Value::Ulong(n) => n.try_into().ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Symbol(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}
