//! One instance whose handler is slow, fails and panics, as a process of its own that a test can kill.
//!
//! With the number `INSTANCE` it appends what it does to the file `RECORD`; its dead letters and its log are in files of its
//! own in `FOLDER`. Every third instance handles one event at a time, the others eight of different keys. With `FAULTS`, a seed,
//! the handler and the store have faults; an event whose body begins with `poison` fails with each attempt.
//! On standard output it says `ready` once SIGTERM stops it gracefully, and `error WHAT`.
#![allow(clippy::print_stdout, reason = "the lines are what the test reads")]

use std::env;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventhubs::dead_letters::BoxError;
use eventhubs::store::async_trait;
use eventhubs::{
    CheckpointPolicy, CloseReason, ConsumerClient, DeadLetter, DeadLetterSink, FailurePolicy,
    FileDeadLetters, GiveUp, HandlerError, HandlerResult, Namespace, OwnerId, PartitionContext,
    ReceivedEvent, RetryPolicy, StartingPosition,
};
use eventhubs_checkpoint_store_testkit::{Faults, FaultyStore};
use eventhubs_tests::{Deed, Recorder, RecordingStore, Storage, digest};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

const CONCURRENCY: usize = 8;
const ATTEMPTS: u32 = 3;
const FAULT: &str = "a fault of the test";

#[tokio::main]
async fn main() -> HandlerResult {
    let mut terminate = signal(SignalKind::terminate())?;
    println!("ready");
    let instance: u32 = var("INSTANCE")?.parse()?;
    let folder = PathBuf::from(var("FOLDER")?);
    let log = File::create(folder.join(format!("instance-{instance}.log")))?;
    tracing_subscriber::fmt().with_ansi(false).with_writer(log).init();
    let owner: OwnerId = format!("instance-{instance}").parse()?;
    let recorder = Arc::new(Recorder::open(var("RECORD")?, instance)?);
    let seed = env::var("FAULTS").ok().map(|seed| seed.parse()).transpose()?;
    // A panic is one of the faults: its text would only fill the output of the test. Any other is a defect.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_fault = panic.payload().downcast_ref::<&str>().is_some_and(|text| *text == FAULT);
        if !is_fault {
            report(panic);
        }
    }));

    let store = FaultyStore::new(Storage::open(&var("STORE")?).await?, seed.unwrap_or_default());
    if seed.is_some() {
        store.set_faults(Faults::none().errors_before(20).errors_after(10));
    }
    let client = ConsumerClient::builder(var("EVENT_HUB")?, "$Default")
        .checkpoint_store(RecordingStore::new(store, owner.clone(), Arc::clone(&recorder)))
        .owner_id(owner)
        .checkpoint_namespace(Namespace::new(var("CHECKPOINT_NAMESPACE")?)?)
        .load_balancing_interval(Duration::from_millis(var("INTERVAL_MS")?.parse()?))
        .partition_ownership_expiration_interval(Duration::from_secs(var("EXPIRY_SECONDS")?.parse()?))
        .retry(RetryPolicy::exponential(Duration::from_millis(50)))
        .build()?;
    let path = folder.join(format!("letters-{instance}.jsonl"));
    let letters = Letters { file: FileDeadLetters::open(path).await?, recorder: Arc::clone(&recorder) };
    let stop = async move { terminate.recv().await };
    receive(&client, instance, letters, Handler::new(recorder, seed), stop).await
}

fn var(name: &str) -> Result<String, HandlerError> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

async fn receive(
    client: &ConsumerClient,
    instance: u32,
    letters: Letters,
    handler: Arc<Handler>,
    stop: impl Future + Send + 'static,
) -> HandlerResult {
    let is_in_order = instance.is_multiple_of(3);
    let (opened, closed) = (Arc::clone(&handler.recorder), Arc::clone(&handler.recorder));
    let failure = FailurePolicy::retry(RetryPolicy::fixed(Duration::from_millis(20)))
        .attempts(ATTEMPTS)
        .dead_letter_limit(100_000)
        .then(GiveUp::dead_letter(letters));
    let receive = client
        .receive(move |context, event| Arc::clone(&handler).handle(context, event))
        .starting_position(StartingPosition::Earliest)
        .on_failure(failure)
        .checkpoint(CheckpointPolicy::every(Duration::from_millis(500)).or_events(200))
        .on_partition_initialize(move |context| {
            opened.record(context.partition_id(), Deed::Opened { is_in_order });
            async { Ok(()) }
        })
        .on_partition_close(move |context, reason| {
            let is_clean = matches!(reason, CloseReason::Shutdown | CloseReason::HandedOver);
            closed.record(context.partition_id(), Deed::Closed { is_clean });
            async {}
        })
        .on_error(|_, error| async move { println!("error {error}") })
        .with_graceful_shutdown(stop);
    let keyed = |event: &ReceivedEvent| event.partition_key().map(str::to_owned);
    if is_in_order {
        receive.await?
    } else {
        receive.concurrency(CONCURRENCY).keyed_by(keyed).await?
    };
    Ok(())
}

/// The dead letters of this instance.
#[derive(Debug)]
struct Letters {
    file: FileDeadLetters,
    recorder: Arc<Recorder>,
}

#[async_trait]
impl DeadLetterSink for Letters {
    async fn put(&self, letter: &DeadLetter) -> Result<(), BoxError> {
        self.file.put(letter).await?;
        let number = usize::try_from(letter.sequence_number().value())?;
        self.recorder.record(letter.partition(), Deed::DeadLettered { number });
        Ok(())
    }
}

/// The callback, with its faults.
struct Handler {
    recorder: Arc<Recorder>,
    random: Option<Mutex<StdRng>>,
}

/// What happens to one call, if it is not slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Error,
    Panic,
}

impl Handler {
    fn new(recorder: Arc<Recorder>, seed: Option<u64>) -> Arc<Self> {
        Arc::new(Self { recorder, random: seed.map(|seed| Mutex::new(StdRng::seed_from_u64(seed))) })
    }

    async fn handle(self: Arc<Self>, context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
        let body = event.body_as_str()?;
        let number = usize::try_from(event.sequence_number().value())?;
        let (pause, fault) = self.draw();
        sleep(pause).await;
        let fault = if body.starts_with("poison") { Some(Fault::Error) } else { fault };
        let deed = match fault {
            None => Deed::Handled { number, body: digest(body.as_bytes()) },
            Some(_) => Deed::Failed { number },
        };
        self.recorder.record(context.partition_id(), deed);
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(FAULT.into()),
            Some(Fault::Panic) => std::panic::panic_any(FAULT),
        }
    }

    /// How long a call takes, and how it ends.
    fn draw(&self) -> (Duration, Option<Fault>) {
        let Some(random) = &self.random else { return (Duration::ZERO, None) };
        let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = if random.random_ratio(1, 100) { 200 } else { 4 };
        let pause = Duration::from_millis(random.random_range(0..slowest));
        let fault = match random.random_range(0..1_000) {
            0 => Some(Fault::Panic),
            1..20 => Some(Fault::Error),
            _ => None,
        };
        (pause, fault)
    }
}
