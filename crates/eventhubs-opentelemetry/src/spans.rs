//! The spans: one for each call of the callback, one for each checkpoint that is written, one for each question to the
//! service.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eventhubs::observe::{
    Call, CallObserver, CallOutcome, CallScope, Observation, ObservedPartition, error_type,
};
use eventhubs::{ConsumerScope, ReceivedEvent, TraceContext};
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use crate::recorded::{Recorded, UPDATE_CHECKPOINT, checkpoint_labels, error_label};
use crate::{labels, names};

/// How many links a span has at most: the default of the SDK, which drops further ones.
const MAX_LINKS: usize = 128;

/// Makes a span of each call for one partition.
pub(crate) struct Calls {
    tracer: Arc<BoxedTracer>,
    recorded: Arc<Recorded>,
    name: String,
    span_attributes: Vec<KeyValue>,
    metric_attributes: Arc<[KeyValue]>,
    is_batch: bool,
    is_child: bool,
}

impl Calls {
    pub(crate) fn new(
        tracer: &Arc<BoxedTracer>,
        recorded: &Arc<Recorded>,
        partition: &ObservedPartition<'_>,
        single_event_parent: bool,
        partition_on_histograms: bool,
    ) -> Self {
        let scope = partition.scope;
        let of_partition = labels::of_partition(scope, partition.partition);
        let operation = [
            KeyValue::new(names::OPERATION_NAME, "process"),
            KeyValue::new(names::OPERATION_TYPE, "process"),
            KeyValue::new(names::CLIENT_ID, labels::shared(partition.owner.as_str())),
        ];
        Self {
            tracer: Arc::clone(tracer),
            recorded: Arc::clone(recorded),
            name: format!("process {}", scope.event_hub),
            metric_attributes: if partition_on_histograms {
                of_partition.clone().into()
            } else {
                labels::of_scope(scope).into()
            },
            span_attributes: labels::with(of_partition, operation),
            is_batch: partition.is_batch,
            is_child: single_event_parent && !partition.is_batch,
        }
    }

    fn builder(&self, call: &Call<'_>) -> SpanBuilder {
        let count = self.is_batch.then(|| KeyValue::new(names::BATCH_COUNT, integer(call.events.len())));
        let attempt = (call.attempt > 1).then(|| KeyValue::new(names::ATTEMPT, i64::from(call.attempt)));
        // With room for both, and for what is set at the end.
        let mut attributes = Vec::with_capacity(self.span_attributes.len() + 4);
        attributes.extend(self.span_attributes.iter().cloned());
        attributes.extend(count.into_iter().chain(attempt));
        let builder = self.tracer.span_builder(self.name.clone());
        builder.with_kind(SpanKind::Consumer).with_attributes(attributes)
    }
}

impl CallObserver for Calls {
    fn begin(&self, call: &Call<'_>) -> Option<Box<dyn CallScope>> {
        let parent = match call.events {
            [event] if self.is_child => event.trace_context().as_ref().and_then(remote),
            _ => None,
        };
        let parent = parent.map_or_else(Context::new, |sent| Context::new().with_remote_span_context(sent));
        let mut span = self.tracer.build_with_context(self.builder(call), &parent);
        // No property of an event is read for a span that nobody sees.
        if span.is_recording() && !self.is_child {
            link(&mut span, call.events);
        }
        if let Some(enqueued) = call.events.last().and_then(ReceivedEvent::enqueued_time) {
            // By the clock of the service, which may be ahead of the one here.
            let lag = wall_clock().duration_since(enqueued).unwrap_or_default();
            self.recorded.consumer_lag.record(lag.as_secs_f64(), &self.metric_attributes);
        }
        Some(Box::new(Process {
            recorded: Arc::clone(&self.recorded),
            metric_attributes: Arc::clone(&self.metric_attributes),
            context: Context::new().with_span(span),
            begun: Instant::now(),
        }))
    }
}

/// One call of the callback.
struct Process {
    recorded: Arc<Recorded>,
    metric_attributes: Arc<[KeyValue]>,
    context: Context,
    begun: Instant,
}

impl CallScope for Process {
    fn poll(&mut self, poll: &mut dyn FnMut()) {
        let _current = self.context.clone().attach();
        poll();
    }

    fn end(self: Box<Self>, outcome: CallOutcome<'_>) {
        let span = self.context.span();
        let seconds = self.begun.elapsed().as_secs_f64();
        match outcome.error_type().map(error_label) {
            None => self.recorded.process.record(seconds, &self.metric_attributes),
            Some(error) => {
                span.set_attribute(error.clone());
                // Not the text of the error, which is the user's and may have values of the event.
                span.set_status(Status::error(""));
                let attributes = labels::with(self.metric_attributes.to_vec(), [error]);
                self.recorded.process.record(seconds, &attributes);
            }
        }
        span.end();
    }
}

/// Links a span to where its events were sent.
fn link(span: &mut opentelemetry::global::BoxedSpan, events: &[ReceivedEvent]) {
    let mut seen = HashSet::new();
    for event in events {
        let Some(sent) = event.trace_context().as_ref().and_then(remote) else { continue };
        if !seen.insert((sent.trace_id(), sent.span_id())) || seen.len() > MAX_LINKS {
            continue;
        }
        let enqueued =
            event.enqueued_time().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let enqueued = enqueued.map(|since| KeyValue::new(names::ENQUEUED_TIME, integer(since.as_secs())));
        span.add_link(sent, enqueued.into_iter().collect());
    }
    if seen.len() > MAX_LINKS {
        span.set_attribute(KeyValue::new(names::LINKS_DROPPED, integer(seen.len() - MAX_LINKS)));
    }
}

/// The span in which an event was sent.
fn remote(sent: &TraceContext) -> Option<SpanContext> {
    let trace = TraceId::from_hex(sent.trace_id()).ok()?;
    let span = SpanId::from_hex(sent.span_id()).ok()?;
    let state = sent.tracestate().and_then(|state| state.parse().ok());
    let state: TraceState = state.unwrap_or_default();
    Some(SpanContext::new(trace, span, TraceFlags::new(sent.flags()), true, state))
}

/// Makes a span of something that has just ended, if it is one of those that have spans.
pub(crate) fn record(tracer: &BoxedTracer, scope: &ConsumerScope, observation: &Observation<'_>) {
    let (name, operation, partition, duration, error) = match *observation {
        Observation::StoreCall { operation: UPDATE_CHECKPOINT, partition, duration, error, .. } => {
            let error = error.map(|error| error.kind().as_str().into());
            ("checkpoint", checkpoint_labels().to_vec(), partition, duration, error)
        }
        Observation::Lookup { operation, partition, duration, error } => {
            let name = vec![KeyValue::new(names::OPERATION_NAME, operation)];
            (operation, name, partition, duration, error.map(error_type))
        }
        _ => return,
    };
    let attributes = match partition {
        Some(partition) => labels::of_partition(scope, partition),
        None => labels::of_scope(scope),
    };
    let builder = tracer.span_builder(format!("{name} {}", scope.event_hub));
    let builder = builder.with_kind(SpanKind::Client).with_attributes(labels::with(attributes, operation));
    let builder = builder.with_start_time(before(duration));
    // A callback that writes a checkpoint has its span current here, and then it is part of that.
    let mut span = tracer.build_with_context(builder, &Context::current());
    if let Some(error_type) = error {
        span.set_attribute(error_label(error_type));
        span.set_status(Status::error(""));
    }
    span.end();
}

fn before(duration: Duration) -> SystemTime {
    let now = wall_clock();
    now.checked_sub(duration).unwrap_or(now)
}

/// The time of day, which spans have, and events.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
