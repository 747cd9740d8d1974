//! The readers in Rust, each in a process of its own.

mod bare;
mod consumer;
mod idle;
mod limit;
mod partition;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use eventhubs_amqp::ConnectionOptions;
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::meter::Meter;

pub use idle::Idle;

/// How long a slow handler takes for what it is given at once.
pub const SLOW: Duration = Duration::from_millis(100);

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// How our own process reads events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reader {
    /// Socket read and hand parse into owned events over tokio.
    Limit,
    /// A bare fe2o3-amqp receiver per partition.
    Fe2o3,
    /// Our `PartitionReceiver`, one per partition.
    PartitionReceiver,
    /// `ConsumerClient::receive` with an empty callback.
    Receive,
    /// `ConsumerClient::receive_batch` with an empty callback.
    ReceiveBatch,
    /// As `Receive`, with policies for failures and checkpoints.
    ReceivePolicies,
    /// As `Receive`, several events of a partition at once.
    ReceiveKeyed,
    /// As `Receive`, with metrics that nobody reads and spans that are not sampled.
    ReceiveObserved,
}

/// What a reader is told on its command line.
#[derive(Debug, Clone, Parser)]
pub struct Orders {
    /// How events are read.
    pub reader: Reader,
    /// The replayer's port on the loopback.
    #[arg(long)]
    pub port: u16,
    /// How many partitions are read.
    #[arg(long)]
    pub partitions: u32,
    /// Over how many connections they are spread.
    #[arg(long, default_value_t = 1)]
    pub connections: u32,
    /// Credit per partition.
    #[arg(long)]
    pub prefetch: u32,
    /// For how long to measure, in seconds.
    #[arg(long)]
    pub seconds: f64,
    /// Threads of the runtime; 1 is a current-thread runtime.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// In how many partitions, from the first, a handler takes [`SLOW`] for what it is given at once. How old their events are
    /// does not count.
    #[arg(long, default_value_t = 0)]
    pub slow: u32,
    /// Attach only, and print what of the process is in memory then.
    #[arg(long)]
    pub idle: bool,
    /// Whether to measure how old events are when they are handed over.
    #[arg(long)]
    pub latency: bool,
    /// Speak TLS and trust this certificate.
    #[arg(long)]
    pub tls: Option<PathBuf>,
}

impl Orders {
    fn is_slow(&self, partition: u32) -> bool {
        partition < self.slow
    }

    fn connection_options(&self) -> ConnectionOptions {
        let connections = NonZeroUsize::new(self.connections as usize).unwrap_or(NonZeroUsize::MIN);
        ConnectionOptions::new().connections(connections)
    }

    fn connection_string(&self) -> String {
        let emulator = if self.tls.is_some() { "false" } else { "true" };
        format!(
            "Endpoint=sb://localhost:{};SharedAccessKeyName=bench;SharedAccessKey=c2VjcmV0;EntityPath=hub;\
             UseDevelopmentEmulator={emulator}",
            self.port
        )
    }
}

/// The main function of a reader's process: reads until the time is over, and prints what was measured.
pub fn main(allocations: fn() -> Option<u64>) -> ExitCode {
    let orders = Orders::parse();
    let meter = Meter::new(orders.partitions, orders.latency);
    let (counting, time) = (Arc::clone(&meter), Duration::from_secs_f64(orders.seconds));
    let runtime = match runtime(orders.threads) {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    if orders.idle {
        finish(runtime.block_on(idle::measure(&orders)).map_err(|error| error.to_string()));
    }
    std::thread::spawn(move || finish(counting.measure(time, allocations)));
    match runtime.block_on(read(&orders, meter)) {
        Ok(()) => fail(&"the reader ended by itself"),
        Err(error) => fail(&error),
    }
}

async fn read(orders: &Orders, meter: Arc<Meter>) -> Outcome {
    match orders.reader {
        Reader::Limit => limit::read(orders, &meter).await,
        Reader::Fe2o3 => bare::read(orders, &meter).await,
        Reader::PartitionReceiver => partition::read(orders, &meter).await,
        Reader::Receive => consumer::receive(orders, meter, |receive| receive).await,
        Reader::ReceivePolicies => consumer::receive(orders, meter, consumer::with_policies).await,
        Reader::ReceiveKeyed => consumer::receive(orders, meter, consumer::keyed).await,
        Reader::ReceiveObserved => consumer::receive_observed(orders, meter).await,
        Reader::ReceiveBatch => consumer::receive_batch(orders, meter).await,
    }
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build()
}

/// Ends the process: a reader has nothing to clean up, and what it would do then is not measured.
#[expect(clippy::print_stdout, reason = "the process that started us reads it")]
fn finish(measured: Result<impl Serialize, String>) -> ! {
    let line = measured.and_then(|measured| serde_json::to_string(&measured).map_err(|e| e.to_string()));
    match line {
        Ok(line) => {
            println!("{line}");
            std::process::exit(0);
        }
        Err(error) => {
            fail(&error);
            std::process::exit(1);
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command line tells on the terminal what goes wrong")]
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("reader: {error}");
    ExitCode::FAILURE
}

/// Events of one partition must come without a gap, whoever reads them.
#[derive(Debug, Default)]
struct InOrder {
    next: i64,
}

impl InOrder {
    fn check(&mut self, sequence_number: i64) -> Outcome {
        if sequence_number != self.next {
            return Err(format!("event {sequence_number} came instead of {}", self.next).into());
        }
        self.next += 1;
        Ok(())
    }
}
