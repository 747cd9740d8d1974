//! Attaching to a partition (contract §5.1).

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

use crate::connection::Connection;
use crate::filter::selector;
use crate::source::PlainSource;
use crate::{Result, ambient};

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
    pub(crate) prefetch: u32,
    pub(crate) track_last_enqueued: bool,
    pub(crate) identifier: String,
}

impl LinkOptions {
    fn address(&self) -> String {
        format!(
            "{}/ConsumerGroups/{}/Partitions/{}",
            self.event_hub, self.group, self.partition
        )
    }

    /// What is opened, for error texts.
    pub(crate) fn subject(&self) -> String {
        format!(
            "event hub {}, consumer group {}, partition {}",
            self.event_hub, self.group, self.partition
        )
    }

    fn properties(&self) -> Fields {
        let level = self
            .owner_level
            .map(|level| (Symbol::from(OWNER_LEVEL), Value::Long(level)));
        let name = (
            Symbol::from(RECEIVER_NAME),
            Value::String(self.identifier.clone()),
        );
        level.into_iter().chain([name]).collect()
    }

    fn capabilities(&self) -> Vec<Symbol> {
        let metric = self.track_last_enqueued.then(|| Symbol::from(RUNTIME_METRIC));
        metric
            .into_iter()
            .chain([Symbol::from(GEO_REPLICATION)])
            .collect()
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

/// Attaches on a session of its own, so that nothing that ends the session touches another partition.
///
/// The service may accept and refuse right after; that refusal comes out of the source.
pub(crate) async fn attach(
    connection: &Connection,
    options: &LinkOptions,
    position: &StartingPosition,
) -> Result<PlainSource> {
    let source = options.source(position)?;
    let engine = connection.engine();
    let mut session = engine.begin().await?;
    let attaching = Receiver::builder()
        .name(format!(
            "{}-{}-{}",
            options.identifier,
            options.partition,
            ambient::suffix()
        ))
        .source(source)
        .target(Target::builder().address(options.identifier.clone()).build())
        .properties(options.properties())
        .set_desired_capabilities(options.capabilities())
        .sender_settle_mode(SenderSettleMode::Settled)
        .receiver_settle_mode(ReceiverSettleMode::First)
        .credit_mode(CreditMode::Manual)
        .auto_accept(false)
        .verify_incoming_source(false)
        .attach(session.handle());
    let receiver = engine.bounded("attaching", attaching).await?;
    PlainSource::start(receiver, session, Arc::clone(engine), options).await
}
