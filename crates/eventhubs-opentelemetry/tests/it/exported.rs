//! Exporters in memory, and what they have got.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eventhubs::{CheckpointStore, ConsumerClient, MemoryCheckpointStore};
use eventhubs_emulator::Emulator;
use eventhubs_opentelemetry::Telemetry;
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

pub(crate) const HUB: &str = "orders";

/// Providers of both kinds with exporters in memory.
pub(crate) struct Exported {
    meters: SdkMeterProvider,
    metrics: InMemoryMetricExporter,
    pub(crate) tracers: SdkTracerProvider,
    spans: InMemorySpanExporter,
    pub(crate) telemetry: Telemetry,
}

/// Values by their attributes.
pub(crate) type Points = Vec<(BTreeMap<String, String>, f64)>;

/// A metric as it arrived: kind, unit, and its points by their attributes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    pub(crate) kind: &'static str,
    pub(crate) unit: String,
    pub(crate) points: Points,
}

impl Exported {
    pub(crate) fn new() -> Self {
        let (metrics, spans) = (InMemoryMetricExporter::default(), InMemorySpanExporter::default());
        let reader = PeriodicReader::builder(metrics.clone()).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let telemetry = Telemetry::new(&meters, &tracers);
        Self { meters, metrics, tracers, spans, telemetry }
    }

    pub(crate) fn client(&self, emulator: &Emulator) -> ConsumerClient {
        self.client_on(emulator, Arc::new(MemoryCheckpointStore::new()))
    }

    pub(crate) fn client_on(&self, emulator: &Emulator, store: impl CheckpointStore) -> ConsumerClient {
        ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
            .checkpoint_store(store)
            .owner_id("pod-1".parse().unwrap())
            .load_balancing_interval(Duration::from_millis(200))
            .observer(self.telemetry.clone())
            .build()
            .unwrap()
    }

    /// All metrics by name, as exported now.
    pub(crate) fn metrics(&self) -> BTreeMap<String, Metric> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let mut found = BTreeMap::new();
        for exported in self.metrics.get_finished_metrics().unwrap() {
            for scope in exported.scope_metrics() {
                assert_eq!(scope.scope().name(), "eventhubs");
                assert_eq!(scope.scope().schema_url(), Some("https://opentelemetry.io/schemas/1.44.0"));
                for metric in scope.metrics() {
                    let (kind, points) = match metric.data() {
                        AggregatedMetrics::U64(data) => points(data, |value| value as f64),
                        AggregatedMetrics::F64(data) => points(data, |value| value),
                        AggregatedMetrics::I64(data) => points(data, |value| value as f64),
                    };
                    let unit = metric.unit().to_owned();
                    found.insert(metric.name().to_owned(), Metric { kind, unit, points });
                }
            }
        }
        found
    }

    /// The spans that have ended and whose names begin so.
    pub(crate) fn spans(&self, name: &str) -> Vec<SpanData> {
        let spans = self.spans.get_finished_spans().unwrap();
        spans.into_iter().filter(|span| span.name.starts_with(name)).collect()
    }
}

fn points<T: Copy>(data: &MetricData<T>, value: impl Fn(T) -> f64) -> (&'static str, Points) {
    match data {
        MetricData::Gauge(gauge) => (
            "gauge",
            gauge.data_points().map(|point| (named(point.attributes()), value(point.value()))).collect(),
        ),
        MetricData::Sum(sum) => {
            assert!(sum.is_monotonic());
            (
                "counter",
                sum.data_points().map(|point| (named(point.attributes()), value(point.value()))).collect(),
            )
        }
        MetricData::Histogram(histogram) => {
            let point = |point: &opentelemetry_sdk::metrics::data::HistogramDataPoint<T>| {
                (named(point.attributes()), point.count() as f64)
            };
            ("histogram", histogram.data_points().map(point).collect())
        }
        MetricData::ExponentialHistogram(_) => ("exponential histogram", Vec::new()),
    }
}

pub(crate) fn named<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| (attribute.key.to_string(), attribute.value.to_string());
    attributes.into_iter().map(text).collect()
}

impl Metric {
    /// The sum of all points.
    pub(crate) fn sum(&self) -> f64 {
        self.points.iter().map(|(_, value)| value).sum()
    }

    /// All attributes that points have.
    pub(crate) fn attributes(&self) -> BTreeSet<&str> {
        self.points.iter().flat_map(|(attributes, _)| attributes.keys().map(String::as_str)).collect()
    }
}
