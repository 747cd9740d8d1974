//! The failures of one partition's events: counted, judged by the policy, and acted on by a pause, a dead letter or the
//! end of the attempt. The decision itself is in `policy/failure.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eventhubs_amqp::ReceivedEvent;

use eventhubs_types::SequenceNumber;
use futures::FutureExt as _;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};

use crate::ambient::{entropy, wall_clock};
use crate::dead_letters::{DeadLetter, DeadLetterSink, letter};
use crate::exit::{Exit, Order};
use crate::gauges::Phase;
use crate::hooks::guarded;
use crate::observe::{Consequence, Observation};
use crate::pacing::Pacing;
use crate::policy::failure::{Cause, Failures, GiveUp, Verdict};
use crate::pump::calling::{Call, Interrupted};
use crate::pump::orders::Orders;
use crate::report::Fate;
use crate::run::Run;
use crate::{Error, ErrorKind, HandlerError, HeldBy, PartitionContext};

/// How often one dead letter is put before the partition is restarted.
const MAX_PUTS: u32 = 10;

/// How long one call of a dead-letter sink may take.
const PUT_LIMIT: Duration = Duration::from_secs(60);

/// How long a partition waits that has used up the limit of dead letters.
const LIMIT_PAUSE: Duration = Duration::from_secs(30);

/// What the failures of one partition have come to. Outlives the attempts to read it.
#[derive(Debug)]
pub(crate) struct Failing {
    run: Arc<Run>,
    context: PartitionContext,
    /// By the sequence number of the event, or of the first one of a batch. Each is removed when its event is handled
    /// or given up, so there are no more than events under way.
    failed: BTreeMap<SequenceNumber, Failed>,
    rng: StdRng,
}

/// The failures of one event so far.
#[derive(Debug, Clone, Copy)]
struct Failed {
    count: u32,
    first: Instant,
    first_time: SystemTime,
}

/// A failure, with what is to be done about it.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) error: Error,
    attempts: u32,
    first_failed: SystemTime,
    /// For a dead letter.
    reason: &'static str,
    description: String,
}

/// What to do with the events of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Again,
    /// They are done.
    Pass(Fate),
}

impl Failing {
    pub(crate) fn new(run: Arc<Run>, context: PartitionContext) -> Self {
        Self { run, context, failed: BTreeMap::new(), rng: entropy() }
    }

    /// Returns the error of a call that failed.
    ///
    /// # Errors
    /// When it did not fail but ended because the partition is not to be read any more. A callback that writes
    /// `update_checkpoint(..).await?` fails when the partition is lost meanwhile; that is an order to stop and no
    /// failure to report.
    pub(crate) fn source(&self, interrupted: Interrupted) -> Result<HandlerError, Exit> {
        match interrupted {
            Interrupted::Ordered(order) => Err(Exit::Ordered(order)),
            Interrupted::Failed(source) if self.says_lost(&source) => {
                Err(Exit::Ordered(Order::OwnershipLost))
            }
            Interrupted::Failed(source) => Ok(source),
        }
    }

    /// Only the own checkpointer knows whether this ownership is over: the callback may have used a context of an
    /// earlier one, or of another partition.
    fn says_lost(&self, source: &HandlerError) -> bool {
        let says_lost =
            source.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OwnershipLost);
        says_lost && !self.context.checkpointer().is_owned()
    }

    /// Notes that a call failed that began with this event, and decides what to do.
    pub(crate) fn judge(&mut self, number: SequenceNumber, call: Call, source: HandlerError) -> Judged {
        let now = Instant::now();
        let failed = self.failed.entry(number).or_insert_with(|| Failed {
            count: 0,
            first: now,
            first_time: wall_clock(),
        });
        failed.count = failed.count.saturating_add(1);
        let Failed { count, first, first_time } = *failed;
        let failures = Failures { count, age: now.saturating_duration_since(first) };
        let cause = Cause::of(&source);
        let jitter = self.rng.random_range(0.0..=1.0);
        let verdict = self.run.options.failure.judge(failures, cause, jitter);
        let (reason, description) = (reason(cause, &source), source.to_string());
        let text = format!("{call} failed (attempt {count})");
        let error = match cause {
            Cause::Mistake => Error::mistaken(text, source),
            _ => Error::handler(text, source),
        };
        let error = error.on_partition(self.context.partition_id());
        Judged { verdict, error, attempts: count, first_failed: first_time, reason, description }
    }

    /// How often a call failed that began with this event.
    pub(crate) fn failures(&self, number: SequenceNumber) -> u32 {
        self.failed.get(&number).map_or(0, |failed| failed.count)
    }

    /// Says that an event holds the others of its partition. Returns it if it has failed and if that is news.
    pub(crate) fn hold(&self, number: SequenceNumber) -> Option<HeldBy> {
        let attempts = self.failed.get(&number)?.count;
        let held_by = HeldBy { sequence_number: number, attempts };
        let before = self.context.held_by();
        self.context.set_held_by(Some(held_by));
        let is_news = before.is_none_or(|before| before.sequence_number != number);
        is_news.then_some(held_by)
    }

    /// Reading continues elsewhere: the events that failed may not come again.
    pub(crate) fn forget(&mut self) {
        self.failed.clear();
    }

    /// The event is handled, or given up.
    pub(crate) fn settle(&mut self, number: SequenceNumber) {
        if let Some(failed) = self.failed.remove(&number) {
            if self.context.held_by().is_some_and(|held_by| held_by.sequence_number == number) {
                self.context.set_held_by(None);
            }
            tracing::info!(
                partition = %self.context.partition_id(), sequence_number = number.value(), failures = failed.count,
                "an event that had failed is done"
            );
        }
    }
}

/// Why an event was given up, as a word to search by.
fn reason(cause: Cause, source: &HandlerError) -> &'static str {
    let is_timeout = source.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::Timeout);
    match cause {
        Cause::Poison => "Poison",
        Cause::Panic => "Panicked",
        Cause::Error if is_timeout => "DeadlineExceeded",
        Cause::Error | Cause::Mistake => "HandlerFailed",
    }
}

/// Does what was decided about the events of a call.
///
/// # Errors
/// When the partition is to be restarted, or the run to be stopped, or an order came meanwhile.
pub(crate) async fn act(
    run: &Run,
    orders: &mut Orders,
    judged: Judged,
    events: &[ReceivedEvent],
) -> Result<Next, Exit> {
    match (judged.verdict, run.options.failure.give_up()) {
        (Verdict::Retry(pause), _) => {
            observe(run, orders, events, Consequence::Retried);
            run.report(Some(orders.context()), judged.error).await;
            pause_before_retry(run, orders, pause).await?;
            Ok(Next::Again)
        }
        (Verdict::Restart, _) | (Verdict::GiveUp, GiveUp::Restart) => {
            observe(run, orders, events, Consequence::Restarted);
            Err(Exit::HandlerFailed(judged.error))
        }
        (Verdict::Stop, _) | (Verdict::GiveUp, GiveUp::Stop) => {
            observe(run, orders, events, Consequence::Stopped);
            Err(Exit::HandlerGaveUp(judged.error))
        }
        (Verdict::GiveUp, GiveUp::Skip) => Ok(skip(run, orders, judged, events).await),
        (Verdict::GiveUp, GiveUp::DeadLetter(sink)) => {
            dead_letter(run, orders, judged, events, &**sink).await
        }
    }
}

fn observe(run: &Run, orders: &Orders, events: &[ReceivedEvent], consequence: Consequence) {
    let Some(first) = events.first() else { return };
    let (partition, sequence_number) = (orders.context().partition_id(), first.sequence_number());
    let events = events.len();
    run.observe(&Observation::Failure { partition, sequence_number, consequence, events });
}

async fn pause_before_retry(run: &Run, orders: &mut Orders, pause: Duration) -> Result<(), Exit> {
    // Where several events are handled at once, the others continue.
    if run.options.concurrency.is_used() {
        return orders.unless_ordered(sleep(pause)).await;
    }
    let context = orders.context().clone();
    context.gauges().set_phase(Phase::BackingOff { until: Instant::now() + pause });
    let paused = orders.unless_ordered(sleep(pause)).await;
    context.gauges().set_phase(Phase::Reading);
    paused
}

async fn skip(run: &Run, orders: &Orders, judged: Judged, events: &[ReceivedEvent]) -> Next {
    observe(run, orders, events, Consequence::Skipped);
    run.report(Some(orders.context()), judged.error).await;
    let partition = orders.context().partition_id();
    for event in events {
        let sequence_number = event.sequence_number().value();
        tracing::warn!(%partition, sequence_number, attempts = judged.attempts, "the event is skipped");
    }
    Next::Pass(Fate::Skipped)
}

async fn dead_letter(
    run: &Run,
    orders: &mut Orders,
    judged: Judged,
    events: &[ReceivedEvent],
    sink: &dyn DeadLetterSink,
) -> Result<Next, Exit> {
    let Judged { error, attempts, first_failed, reason, description, .. } = judged;
    run.report(Some(orders.context()), error).await;
    for event in events {
        if !run.dead_letters.allows_one(Instant::now(), run.options.failure.dead_letters_per_minute()) {
            run.report(Some(orders.context()), too_many(run, orders.context())).await;
            orders.unless_ordered(sleep(LIMIT_PAUSE)).await?;
            return Ok(Next::Again);
        }
        let letter = letter(orders.context(), event, &run.instance.owner)
            .because(reason, &description)
            .after(attempts, first_failed);
        put(run, orders, sink, &letter).await?;
    }
    observe(run, orders, events, Consequence::DeadLettered);
    Ok(Next::Pass(Fate::DeadLettered))
}

/// Puts a letter until the sink has it.
///
/// # Errors
/// When the sink fails again and again: the partition is restarted, since nothing may be skipped.
async fn put(
    run: &Run,
    orders: &mut Orders,
    sink: &dyn DeadLetterSink,
    letter: &DeadLetter,
) -> Result<(), Exit> {
    let number = letter.sequence_number();
    let mut pacing = Pacing::new(run.options.failure.backoff().clone(), entropy());
    loop {
        let attempt = pacing.failures() + 1;
        let putting = timeout(PUT_LIMIT, guarded(|| sink.put(letter).boxed()));
        let error = match orders.unless_ordered(putting).await? {
            Ok(Ok(Ok(()))) => {
                let partition = orders.context().partition_id();
                tracing::warn!(%partition, sequence_number = number.value(), "the event went to the dead letters");
                return Ok(());
            }
            Ok(Ok(Err(error)) | Err(error)) => error,
            Err(_) => format!("no answer within {PUT_LIMIT:?}").into(),
        };
        let text =
            format!("the dead letter at sequence number {number} could not be stored (attempt {attempt})");
        let error = Error::dead_letter(text, error).on_partition(orders.context().partition_id());
        if attempt == MAX_PUTS {
            return Err(Exit::HandlerFailed(error));
        }
        run.report(Some(orders.context()), error).await;
        orders.unless_ordered(sleep(pacing.failed())).await?;
    }
}

fn too_many(run: &Run, context: &PartitionContext) -> Error {
    let limit = run.options.failure.dead_letters_per_minute();
    let text = format!(
        "more than {limit} events within a minute would go to the dead letters, so the partition waits for {LIMIT_PAUSE:?}"
    );
    Error::new(ErrorKind::DeadLetterLimit, text).passing().on_partition(context.partition_id())
}
