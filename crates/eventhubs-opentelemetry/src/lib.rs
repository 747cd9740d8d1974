//! Metrics and spans of `eventhubs`: what is read at export is in `observed.rs`, what is recorded in `recorded.rs` and `spans.rs`.
#![doc = include_str!("../README.md")]

mod clients;
mod labels;
mod names;
mod observed;
mod recorded;
mod spans;

use std::fmt;
use std::sync::Arc;

use eventhubs::ConsumerScope;
use eventhubs::observe::{CallObserver, Observation, ObservedPartition, Observer};
use eventhubs::status::StatusReader;
use opentelemetry::InstrumentationScope;
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::{Span, Tracer, TracerProvider};

use crate::clients::Clients;
use crate::recorded::Recorded;
use crate::spans::Calls;

/// Makes metrics and spans of the clients that it observes. Cheap to clone; clones share the instruments.
///
/// Make one for each meter provider, and clone it for further clients: two have instruments of the same names, of which an
/// SDK exports the values of one.
#[derive(Clone)]
pub struct Telemetry {
    tracer: Arc<BoxedTracer>,
    recorded: Arc<Recorded>,
    clients: Arc<Clients>,
    single_event_parent: bool,
    partition_on_histograms: bool,
}

impl Telemetry {
    /// Makes the instruments by these providers. A provider of `opentelemetry::global` will do, or a no-op one for what is
    /// not wanted.
    pub fn new<P>(meters: &dyn MeterProvider, tracers: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Span + Send + Sync + 'static,
    {
        let tracer = BoxedTracer::new(Box::new(tracers.tracer_with_scope(scope())));
        Self::with(&meters.meter_with_scope(scope()), tracer)
    }

    /// Makes the instruments by the global providers, which have to be set before.
    ///
    /// Prefer [`new`](Self::new): a program that has two minors of `opentelemetry` has two sets of globals, and metrics that
    /// go to the one that nobody set vanish without a word.
    pub fn from_global() -> Self {
        tracing::info!("metrics and spans go to the global providers of opentelemetry");
        Self::with(&global::meter_with_scope(scope()), global::tracer_with_scope(scope()))
    }

    fn with(meter: &Meter, tracer: BoxedTracer) -> Self {
        let clients = Arc::<Clients>::default();
        observed::register(meter, &clients);
        Self {
            tracer: Arc::new(tracer),
            recorded: Arc::new(Recorded::new(meter)),
            clients,
            single_event_parent: false,
            partition_on_histograms: false,
        }
    }

    /// Sets whether the span of a call with a single event is a child of the span in which the event was sent, instead of
    /// linked to it. Default: `false`, as the semantic conventions have it. Batches always have links.
    #[must_use]
    pub fn single_event_parent(mut self, is_parent: bool) -> Self {
        self.single_event_parent = is_parent;
        self
    }

    /// Sets whether the histograms of calls have an attribute for the partition. Default: `false`, since SDKs keep 2 000
    /// sets of attributes for an instrument by default.
    #[must_use]
    pub fn partition_on_histograms(mut self, has_partition: bool) -> Self {
        self.partition_on_histograms = has_partition;
        self
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(names::SCOPE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(names::SCHEMA_URL)
        .build()
}

impl Observer for Telemetry {
    fn started(&self, status: StatusReader) {
        self.clients.add(status);
    }

    fn observe(&self, scope: &ConsumerScope, observation: &Observation<'_>) {
        self.recorded.record(scope, observation);
        spans::record(&self.tracer, scope, observation);
    }

    fn calls(&self, partition: &ObservedPartition<'_>) -> Option<Box<dyn CallObserver>> {
        let Self { tracer, recorded, single_event_parent, partition_on_histograms, .. } = self;
        Some(Box::new(Calls::new(
            tracer,
            recorded,
            partition,
            *single_event_parent,
            *partition_on_histograms,
        )))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("single_event_parent", &self.single_event_parent)
            .field("partition_on_histograms", &self.partition_on_histograms)
            .finish_non_exhaustive()
    }
}
