//! Two instances share the partitions of an event hub; one is killed half-way, the other takes over, nothing is lost.
//!
//! `cargo run --release --example quickstart` needs nothing but cargo: the event hub is the embedded emulator.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventhubs::{
    ConsumerClient, HandlerError, HandlerResult, MemoryCheckpointStore, PartitionContext, ReceivedEvent,
    StartingPosition,
};
use eventhubs_emulator::Emulator;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

const PARTITIONS: usize = 8;
const EVENTS: usize = 4_000;
const WORK_PER_EVENT: Duration = Duration::from_millis(12);
const CHECKPOINT_EVERY: i64 = 20;
const PATIENCE: Duration = Duration::from_secs(90);

type Failure = HandlerError;

fn main() -> Result<ExitCode, Failure> {
    let runtime = Runtime::new()?;
    runtime.block_on(show())
}

async fn show() -> Result<ExitCode, Failure> {
    let emulator = Emulator::builder().event_hub("orders", PARTITIONS).start().await?;
    emulator.publish("orders", (0..EVENTS).map(|n| format!("order {n}")))?;
    println!("Published {EVENTS} events into {PARTITIONS} partitions. Instances A and B start.\n");

    let hub = emulator.connection_string("orders");
    let store = Arc::new(MemoryCheckpointStore::new());
    let ledger = Arc::new(Ledger::default());
    let a = instance('A', &hub, &store, &ledger)?;
    let b = instance('B', &hub, &store, &ledger)?;
    let mut screen = Screen::new();

    screen.watch(&ledger, |ledger| ledger.handled() >= EVENTS / 2 && ledger.owned_by('A') > 0).await?;
    a.shutdown_background();
    let orphans = ledger.killed('A');
    screen.event(&format!("Instance A is killed without warning; it had {} partitions.", orphans.len()));
    screen.watch(&ledger, |ledger| ledger.handled() >= EVENTS).await?;
    b.shutdown_background();
    emulator.stop().await;

    println!("\n{}", ledger.table(&orphans));
    let lost = EVENTS - ledger.handled();
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts one instance in a runtime of its own, so that it can be killed with all it has: connections, timers, leases.
fn instance(
    name: char,
    hub: &str,
    store: &Arc<MemoryCheckpointStore>,
    ledger: &Arc<Ledger>,
) -> Result<Runtime, Failure> {
    let client = ConsumerClient::builder(hub, "$Default")
        .checkpoint_store(Arc::clone(store))
        .load_balancing_interval(Duration::from_millis(500))
        .partition_ownership_expiration_interval(Duration::from_secs(2))
        .build()?;
    let (opened, handled) = (Arc::clone(ledger), Arc::clone(ledger));
    let receive = client
        .receive(move |context, event| handle(Arc::clone(&handled), context, event))
        .starting_position(StartingPosition::Earliest)
        .on_partition_initialize(move |context| {
            opened.open(name, context.partition_id().as_str());
            async { Ok(()) }
        });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(receive.into_future());
    Ok(runtime)
}

async fn handle(ledger: Arc<Ledger>, context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
    sleep(WORK_PER_EVENT).await;
    let number = event.sequence_number().value();
    ledger.record(context.partition_id().as_str(), number);
    if number % CHECKPOINT_EVERY == 0 {
        context.update_checkpoint(&event).await?;
    }
    Ok(())
}

/// What really happened, kept outside of the instances.
#[derive(Default)]
struct Ledger {
    partitions: Mutex<BTreeMap<String, Progress>>,
    kill: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Progress {
    owner: Option<char>,
    times_handled: BTreeMap<i64, usize>,
    moves: usize,
    /// When the present owner handled its first event.
    resumed: Option<Instant>,
}

impl Ledger {
    fn partitions(&self) -> MutexGuard<'_, BTreeMap<String, Progress>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, partition: &str, number: i64) {
        let mut partitions = self.partitions();
        let progress = partitions.entry(partition.to_owned()).or_default();
        *progress.times_handled.entry(number).or_default() += 1;
        if progress.resumed.is_none() {
            progress.resumed = Some(Instant::now());
        }
    }

    /// An instance begins to read a partition.
    fn open(&self, name: char, partition: &str) {
        let mut partitions = self.partitions();
        let progress = partitions.entry(partition.to_owned()).or_default();
        if progress.owner.replace(name).is_some_and(|before| before != name) {
            progress.moves += 1;
            progress.resumed = None;
        }
    }

    fn killed(&self, name: char) -> Vec<String> {
        *self.kill.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let partitions = self.partitions();
        partitions.iter().filter(|(_, p)| p.owner == Some(name)).map(|(id, _)| id.clone()).collect()
    }

    fn handled(&self) -> usize {
        self.partitions().values().map(|progress| progress.times_handled.len()).sum()
    }

    fn owned_by(&self, name: char) -> usize {
        self.partitions().values().filter(|progress| progress.owner == Some(name)).count()
    }

    fn seconds_to_take_over(&self, orphans: &[String]) -> f64 {
        let kill = *self.kill.lock().unwrap_or_else(PoisonError::into_inner);
        let partitions = self.partitions();
        let times = orphans.iter().filter_map(|id| partitions.get(id)?.resumed);
        times.filter_map(|taken| Some((taken - kill?).as_secs_f64())).fold(0.0, f64::max)
    }

    fn table(&self, orphans: &[String]) -> String {
        let handled = self.handled();
        let seconds = self.seconds_to_take_over(orphans);
        let partitions = self.partitions();
        let calls: usize = partitions.values().flat_map(|progress| progress.times_handled.values()).sum();
        let moves: usize = partitions.values().map(|progress| progress.moves).sum();
        format!(
            "published                {EVENTS:>6}\n\
             handled at least once    {handled:>6}\n\
             duplicates               {:>6}   (a checkpoint follows every {CHECKPOINT_EVERY} events)\n\
             lost                     {:>6}\n\
             partitions moved         {moves:>6}\n\
             seconds to take over     {seconds:>6.1}   (leases expire after 2.0)",
            calls - handled,
            EVENTS - handled,
        )
    }

    fn lines(&self) -> Vec<String> {
        let share = EVENTS / PARTITIONS;
        let partitions = self.partitions();
        let line = |(id, progress): (&String, &Progress)| {
            let done = progress.times_handled.len();
            let owner = progress.owner.unwrap_or('-');
            let bar = "#".repeat(done * 40 / share);
            format!("  partition {id}  {owner}  [{bar:<40}] {done:>4}/{share}")
        };
        partitions.iter().map(line).collect()
    }
}

/// Shows the ledger: in place on a terminal, else as one line a second.
struct Screen {
    started: Instant,
    drawn: usize,
    in_place: bool,
}

impl Screen {
    fn new() -> Self {
        Self { started: Instant::now(), drawn: 0, in_place: std::io::stdout().is_terminal() }
    }

    async fn watch(&mut self, ledger: &Ledger, done: impl Fn(&Ledger) -> bool) -> Result<(), Failure> {
        let pause = Duration::from_millis(if self.in_place { 100 } else { 1_000 });
        while !done(ledger) {
            if self.started.elapsed() > PATIENCE {
                return Err(format!("not done after {PATIENCE:?}:\n{}", ledger.lines().join("\n")).into());
            }
            self.draw(ledger);
            sleep(pause).await;
        }
        self.draw(ledger);
        Ok(())
    }

    fn event(&mut self, text: &str) {
        println!("\n{:5.1} s  {text}\n", self.started.elapsed().as_secs_f64());
        self.drawn = 0;
    }

    fn draw(&mut self, ledger: &Ledger) {
        let mut text = String::new();
        if self.in_place {
            let lines = ledger.lines();
            if self.drawn > 0 {
                let _ = write!(text, "\x1b[{}A", self.drawn);
            }
            let _ = writeln!(text, "{}", lines.join("\n"));
            self.drawn = lines.len();
        } else {
            let (a, b) = (ledger.owned_by('A'), ledger.owned_by('B'));
            let seconds = self.started.elapsed().as_secs_f64();
            let _ = writeln!(text, "{seconds:5.1} s  A {a}  B {b}  handled {:>4}/{EVENTS}", ledger.handled());
        }
        print!("{text}");
        let _ = std::io::stdout().flush();
    }
}
