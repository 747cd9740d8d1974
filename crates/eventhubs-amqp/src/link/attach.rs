//! Attaching to a partition.
//!
//! Tests: below.

use std::sync::Arc;

use eventhubs_types::{ConsumerGroup, EventHubName, PartitionId, StartingPosition};
use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::{FilterSet, Source, Target};
use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::Symbol;

use crate::Result;
use crate::connection::engine::Engine;
use crate::link::filter::selector;
use crate::link::source::{Attached, DeliverySource};
use crate::link::tap_source::TapSource;
use crate::runtime::ambient;
use crate::tap::{Prefetch, TappedLink, Taps};

const SELECTOR: &str = "apache.org:selector-filter:string";
const OWNER_LEVEL: &str = "com.microsoft:epoch";
const RECEIVER_NAME: &str = "com.microsoft:receiver-name";
const GEO_REPLICATION: &str = "com.microsoft:georeplication";
const RUNTIME_METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";

/// What a receiver asks for, whatever position it starts at.
#[derive(Debug, Clone)]
pub(crate) struct LinkOptions {
    pub(crate) event_hub: EventHubName,
    pub(crate) group: ConsumerGroup,
    pub(crate) partition: PartitionId,
    pub(crate) owner_level: Option<i64>,
    pub(crate) prefetch: Prefetch,
    pub(crate) track_last_enqueued: bool,
    pub(crate) identifier: String,
}

impl LinkOptions {
    fn address(&self) -> String {
        format!("{}/ConsumerGroups/{}/Partitions/{}", self.event_hub, self.group, self.partition)
    }

    /// What is opened, for error texts.
    pub(crate) fn subject(&self) -> String {
        format!("event hub {}, consumer group {}, partition {}", self.event_hub, self.group, self.partition)
    }

    fn properties(&self) -> Fields {
        let level = self.owner_level.map(|level| (Symbol::from(OWNER_LEVEL), Value::Long(level)));
        let name = (Symbol::from(RECEIVER_NAME), Value::String(self.identifier.clone()));
        level.into_iter().chain([name]).collect()
    }

    fn capabilities(&self) -> Vec<Symbol> {
        let metric = self.track_last_enqueued.then(|| Symbol::from(RUNTIME_METRIC));
        metric.into_iter().chain([Symbol::from(GEO_REPLICATION)]).collect()
    }

    fn source(&self, position: &StartingPosition) -> Result<Source> {
        let filter = Value::Described(Box::new(Described {
            descriptor: Descriptor::Name(SELECTOR.into()),
            value: Value::String(selector(position)?),
        }));
        let filters: FilterSet = [(Symbol::from(SELECTOR), filter)].into_iter().collect();
        Ok(Source::builder().address(self.address()).filter(filters).build())
    }
}

/// Attaches a link whose transfers the tap takes, and grants its first credit.
///
/// The service may accept and refuse right after; that refusal comes out of the source.
pub(crate) async fn attach(
    engine: &Arc<Engine>,
    options: &LinkOptions,
    position: &StartingPosition,
) -> Result<Box<dyn DeliverySource>> {
    let (link, attached) = open(engine, options, position, TappedLink::expect).await?;
    Ok(Box::new(TapSource::start(link, attached)))
}

/// Attaches on a session of its own, so that nothing that ends the session touches another partition.
/// `follow` makes the tap know the link before its attach goes out.
pub(crate) async fn open(
    engine: &Arc<Engine>,
    options: &LinkOptions,
    position: &StartingPosition,
    follow: fn(&Taps, &str, Prefetch) -> TappedLink,
) -> Result<(TappedLink, Attached)> {
    let source = options.source(position)?;
    let mut session = engine.begin().await?;
    let name = format!("{}-{}-{}", options.identifier, options.partition, ambient::suffix());
    let link = follow(engine.taps(), &name, options.prefetch);
    let attaching = Receiver::builder()
        .name(name)
        .source(source)
        .target(Target::builder().address(options.identifier.clone()).build())
        .properties(options.properties())
        .set_desired_capabilities(options.capabilities())
        .sender_settle_mode(SenderSettleMode::Settled)
        .receiver_settle_mode(ReceiverSettleMode::First)
        .credit_mode(CreditMode::Manual)
        .auto_accept(false)
        // Not every broker repeats the filter in its answer, and one it did not take would be refused.
        .verify_incoming_source(false)
        .attach(session.handle());
    let attached = Attached {
        receiver: engine.bounded("attaching", attaching).await?,
        session,
        engine: Arc::clone(engine),
        subject: format!("receiving from {}", options.subject()),
    };
    Ok((link, attached))
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::messaging::TargetArchetype;

    use super::*;
    use crate::testing::peer::Peer;

    fn options() -> LinkOptions {
        LinkOptions {
            event_hub: EventHubName::new("orders").unwrap(),
            group: ConsumerGroup::default(),
            partition: PartitionId::new("3").unwrap(),
            owner_level: Some(7),
            prefetch: Prefetch { events: 50, bytes: 1_000_000 },
            track_last_enqueued: true,
            identifier: "reader-1".to_owned(),
        }
    }

    /// docs/contract.md §5.1 DO, §13.4.
    #[tokio::test(start_paused = true)]
    async fn the_attach_asks_for_what_the_service_understands() {
        let (peer, connection) = Peer::connect().await;
        let position = StartingPosition::from_sequence_number(41);
        attach(connection.engine(), &options(), &position).await.unwrap();
        let attach = peer.last_attach();
        let source = attach.source.unwrap();
        assert_eq!(source.address.as_deref(), Some("orders/ConsumerGroups/$Default/Partitions/3"));
        let described = Value::Described(Box::new(Described {
            descriptor: Descriptor::Name(SELECTOR.into()),
            value: Value::String("amqp.annotation.x-opt-sequence-number >= '41'".into()),
        }));
        assert_eq!(source.filter.unwrap().get(&Symbol::from(SELECTOR)), Some(&described));
        let Some(TargetArchetype::Target(target)) = attach.target.map(|target| *target) else {
            panic!("no target")
        };
        assert_eq!(target.address.as_deref(), Some("reader-1"));
        let properties = attach.properties.unwrap();
        assert_eq!(properties.get(&Symbol::from(OWNER_LEVEL)), Some(&Value::Long(7)));
        assert_eq!(properties.get(&Symbol::from(RECEIVER_NAME)), Some(&Value::String("reader-1".into())));
        let capabilities: Vec<Symbol> = attach.desired_capabilities.unwrap().into();
        assert_eq!(capabilities, [RUNTIME_METRIC, GEO_REPLICATION].map(Symbol::from));
        assert_eq!(attach.snd_settle_mode, SenderSettleMode::Settled);
        assert_eq!(attach.rcv_settle_mode, ReceiverSettleMode::First);
        assert_eq!(attach.max_message_size, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_wanted_is_not_asked_for() {
        let (peer, connection) = Peer::connect().await;
        let plain = LinkOptions { owner_level: None, track_last_enqueued: false, ..options() };
        attach(connection.engine(), &plain, &StartingPosition::Earliest).await.unwrap();
        let attach = peer.last_attach();
        assert_eq!(attach.properties.unwrap().get(&Symbol::from(OWNER_LEVEL)), None);
        let capabilities: Vec<Symbol> = attach.desired_capabilities.unwrap().into();
        assert_eq!(capabilities, [Symbol::from(GEO_REPLICATION)]);
    }
}
