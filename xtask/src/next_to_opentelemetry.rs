//! The program of the CI step of this name: a client whose metrics have to arrive at the exporter of the program.

use eventhubs::{ConsumerClient, StartingPosition, Until};
use eventhubs_emulator::Emulator;
use eventhubs_opentelemetry::Telemetry;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let emulator = Emulator::builder().event_hub("orders", 1).start().await?;
    emulator.publish("orders", ["tea", "coffee", "mate"])?;
    let (metrics, spans) = (InMemoryMetricExporter::default(), InMemorySpanExporter::default());
    let meters = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(metrics.clone()).build()).build();
    let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default")
        .observer(Telemetry::new(&meters, &tracers))
        .build()?;
    let receive = client.receive(|_, _| async { Ok(()) }).starting_position(StartingPosition::Earliest);
    receive.until(Until::now()).await?;
    meters.force_flush()?;
    // As text: the types of what was exported are not the same in each minor.
    let metrics = format!("{:?}", metrics.get_finished_metrics()?);
    for name in ["messaging.client.consumed.messages", "messaging.process.duration", "eventhubs.processor.moves"] {
        assert!(metrics.contains(name), "{name} is missing: {metrics}");
    }
    assert_eq!(spans.get_finished_spans()?.iter().filter(|span| span.name == "process orders").count(), 3);
    println!("3 events, their spans and metrics");
    Ok(())
}
