//! Where a partition is read from, and the receiver there.

use eventhubs_amqp::{ErrorKind as AmqpKind, PartitionProperties};
use eventhubs_types::{Offset, SequenceNumber, StartingPosition};

use crate::checkpointer::Stored;
use crate::invalid_position::Cause;
use crate::log;
use crate::run::Run;
use crate::source::Source;
use crate::{Error, ErrorKind, PartitionContext, Result};

/// The service says so when it has failed over to a region that never knew the offset (docs/contract.md
/// §8.9).
const FAILED_OVER: &str = "com.microsoft:georeplication:invalid-offset";

/// What this instance knows of a partition from before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resume {
    /// Where this ownership began, for a partition that has no checkpoint.
    pub(crate) began: Option<StartingPosition>,
    /// The last event whose callback returned `Ok`, where nothing has failed since.
    pub(crate) handled: Option<SequenceNumber>,
    /// The user wants to read on here.
    pub(crate) sought: Option<StartingPosition>,
    /// Events came that contradict the checkpoint: the event hub was re-created.
    pub(crate) is_recreated: bool,
    /// The offset of the checkpoint led beyond the event that comes after its sequence number: the number
    /// decides.
    pub(crate) doubts_offset: bool,
}

impl Resume {
    /// Where the service decided what was newest, its first event tells: another attach would begin after
    /// what failed since.
    pub(crate) fn delivered(&mut self, number: SequenceNumber) {
        if self.began == Some(StartingPosition::Latest) {
            self.began = Some(StartingPosition::from_sequence_number(number));
        }
    }
}

/// A partition that can be read.
pub(crate) struct Opened {
    pub(crate) receiver: Source,
    /// What the next attempt has to know, should this one fail before its first event.
    pub(crate) resume: Resume,
    /// Every event that comes has a higher number than this one.
    pub(crate) after: Option<SequenceNumber>,
    /// Whether the first event has to show that the checkpoint skips none.
    pub(crate) is_at_checkpoint: bool,
}

impl Opened {
    fn new(receiver: Source, began: Option<StartingPosition>, after: Option<SequenceNumber>) -> Self {
        Self { receiver, resume: Resume { began, ..Resume::default() }, after, is_at_checkpoint: false }
    }
}

/// Opens a partition after what was handled, or after its checkpoint, or where this ownership began, or where
/// the user said.
pub(crate) async fn open(run: &Run, context: &PartitionContext, resume: &Resume) -> Result<Opened> {
    // Read even where it does not decide: the first write has to know the version.
    let stored = context.checkpointer().stored().await?;
    if let Some(position) = resume.sought.clone()
        && let Some(opened) = at_sought(run, context, position).await?
    {
        return Ok(opened);
    }
    if resume.is_recreated {
        return replace(run, context, Cause::Recreated, recreated(context)).await;
    }
    if let Some(opened) = after_handled(run, context, &stored, resume).await? {
        return Ok(opened);
    }
    let (position, after) = match stored {
        Stored::Damaged => return replace(run, context, Cause::Damaged, damaged(context)).await,
        Stored::At { position, number } => (at_checkpoint(context, position, number, resume), number),
        Stored::Nothing => (beginning(run, context, resume.began.clone()).await?, None),
    };
    let began = after.is_none().then(|| position.clone());
    match receiver(run, context, position, run.options.prefetch).await {
        Ok(receiver) => {
            let mut opened = Opened::new(receiver, began, after);
            opened.is_at_checkpoint = after.is_some();
            opened.resume.doubts_offset = resume.doubts_offset;
            Ok(opened)
        }
        Err(error) if error.kind() == AmqpKind::InvalidPosition => {
            let has_failed_over = error.condition() == Some(FAILED_OVER);
            let cause = if has_failed_over { Cause::FailedOver(after) } else { Cause::Refused };
            replace(run, context, cause, not_at_checkpoint(context, error)).await
        }
        Err(error) => Err(not_opened(context, error)),
    }
}

/// Where the user wants to read on; `None` where the service refuses that.
async fn at_sought(
    run: &Run,
    context: &PartitionContext,
    position: StartingPosition,
) -> Result<Option<Opened>> {
    let position = match position {
        StartingPosition::Latest => newest(run, context).await?.position,
        position => position,
    };
    match receiver(run, context, position.clone(), run.options.prefetch).await {
        Ok(receiver) => {
            // Only now: a position that is refused must leave the checkpoint as it was.
            context.checkpointer().forget().await;
            Ok(Some(Opened::new(receiver, Some(position), None)))
        }
        Err(error) if error.kind() == AmqpKind::InvalidPosition => {
            let text = "the position that was sought is not known, so reading continues where it was";
            run.report(Some(context), Error::amqp(text, error).on_partition(context.partition_id())).await;
            Ok(None)
        }
        Err(error) => Err(not_opened(context, error)),
    }
}

/// The position of a checkpoint: its offset, unless that contradicts its sequence number.
fn at_checkpoint(
    context: &PartitionContext,
    position: StartingPosition,
    number: Option<SequenceNumber>,
    resume: &Resume,
) -> StartingPosition {
    match number {
        Some(number) if resume.doubts_offset => StartingPosition::after_sequence_number(number),
        Some(_) => position,
        None => {
            // Every SDK writes both, so the record is damaged; the offset alone still skips nothing.
            tracing::warn!(partition = %context.partition_id(), "the checkpoint has no sequence number; its offset is used");
            position
        }
    }
}

/// Where nothing has failed since, no event comes twice: the checkpoint may be much older than what was
/// handled.
///
/// `None` where nothing was handled beyond the checkpoint, or the service does not know that event: then the
/// checkpoint decides.
async fn after_handled(
    run: &Run,
    context: &PartitionContext,
    stored: &Stored,
    resume: &Resume,
) -> Result<Option<Opened>> {
    let is_ahead = |handled: &SequenceNumber| stored.number().is_none_or(|stored| stored < *handled);
    let Some(number) = resume.handled.filter(is_ahead) else { return Ok(None) };
    let position = StartingPosition::after_sequence_number(number);
    match receiver(run, context, position, run.options.prefetch).await {
        Ok(receiver) => {
            let resume = Resume { sought: None, ..resume.clone() };
            Ok(Some(Opened { receiver, resume, after: Some(number), is_at_checkpoint: false }))
        }
        Err(error) if error.kind() == AmqpKind::InvalidPosition => Ok(None),
        Err(error) => Err(not_opened(context, error)),
    }
}

/// Reads from elsewhere than the checkpoint says, if the policy allows it.
async fn replace(run: &Run, context: &PartitionContext, cause: Cause, error: Error) -> Result<Opened> {
    let starting = run.options.starting_position(context.partition_id());
    let Some(instead) = run.options.invalid_position.instead(cause, starting) else { return Err(error) };
    run.report(Some(context), error).await;
    let Newest { position, checkpoint } = match instead {
        StartingPosition::Latest => newest(run, context).await?,
        position => Newest { position, checkpoint: None },
    };
    let prefetch = run.options.prefetch;
    let (receiver, position) = match receiver(run, context, position.clone(), prefetch).await {
        Err(error) if error.kind() == AmqpKind::InvalidPosition && matches!(cause, Cause::FailedOver(_)) => {
            let earliest = StartingPosition::Earliest;
            (receiver(run, context, earliest.clone(), prefetch).await, earliest)
        }
        opened => (opened, position),
    };
    let receiver = receiver.map_err(|error| not_opened(context, error))?;
    // Only now, and not before the other one is written: what fails until then must find the checkpoint
    // again, or the next attempt would begin as if there were none.
    match checkpoint {
        Some((offset, number)) => drop(context.checkpointer().begin(offset, number).await?),
        None => context.checkpointer().forget().await,
    }
    Ok(Opened::new(receiver, Some(position), None))
}

/// Where a partition without a checkpoint is read from.
///
/// `Latest` is what the newest event is now. It is written as the first checkpoint, so that nothing that
/// comes from now on is skipped, whoever reads the partition next: this instance after an outage, or another
/// one.
async fn beginning(
    run: &Run,
    context: &PartitionContext,
    began: Option<StartingPosition>,
) -> Result<StartingPosition> {
    if let Some(began) = began {
        return Ok(began);
    }
    let partition = context.partition_id();
    let starting = run.options.starting_position(partition);
    if *starting != StartingPosition::Latest {
        return Ok(starting.clone());
    }
    let Newest { position, checkpoint } = if run.has_appeared(partition) {
        // Nobody can have read a partition that the event hub did not have when this run began.
        Newest { position: StartingPosition::Earliest, checkpoint: Some(before_all()) }
    } else {
        newest(run, context).await?
    };
    let Some((offset, number)) = checkpoint.filter(|_| run.is_balanced()) else { return Ok(position) };
    if context.checkpointer().begin(offset, number).await? {
        return Ok(position);
    }
    // Somebody else wrote one meanwhile.
    match context.checkpointer().stored().await? {
        Stored::At { position, .. } => Ok(position),
        Stored::Nothing | Stored::Damaged => Ok(position),
    }
}

/// The position after the newest event.
struct Newest {
    position: StartingPosition,
    /// The same as a checkpoint, where the service said all of it.
    checkpoint: Option<(Offset, SequenceNumber)>,
}

async fn newest(run: &Run, context: &PartitionContext) -> Result<Newest> {
    let partition = context.partition_id();
    #[cfg(feature = "testkit")]
    if let Some(script) = &run.script {
        return Ok(Newest { position: script.end(partition), checkpoint: None });
    }
    let failure = "the newest event could not be looked up";
    let properties = match run.instance.partition_properties(partition, failure).await {
        // A token for the consumer group alone may read, but not ask.
        Err(error) if error.kind() == ErrorKind::Unauthorized => None,
        answer => Some(answer?),
    };
    let Some(position) = properties.as_ref().and_then(PartitionProperties::after_newest_event) else {
        // The service then decides what is newest at each attach.
        tracing::warn!(%partition, ?properties, "the newest event is not known; the service decides where reading starts");
        return Ok(Newest { position: StartingPosition::Latest, checkpoint: None });
    };
    let checkpoint = properties.and_then(as_checkpoint);
    Ok(Newest { position, checkpoint })
}

/// The checkpoint of a partition of which nothing was read, as the service says it of one that never had an
/// event.
fn before_all() -> (Offset, SequenceNumber) {
    (Offset::new("-1"), SequenceNumber::new(-1))
}

/// The newest event as a checkpoint, unless its offset would lead elsewhere than its number.
fn as_checkpoint(newest: PartitionProperties) -> Option<(Offset, SequenceNumber)> {
    let number = newest.last_enqueued_sequence_number?;
    if number.value() < 0 {
        return Some(before_all());
    }
    let is_event = |offset: &Offset| !matches!(offset.as_str(), "" | "-1");
    Some((newest.last_enqueued_offset.filter(is_event)?, number))
}

/// A receiver at this position.
pub(crate) async fn receiver(
    run: &Run,
    context: &PartitionContext,
    position: StartingPosition,
    prefetch: u32,
) -> eventhubs_amqp::Result<Source> {
    #[cfg(feature = "testkit")]
    if let Some(script) = &run.script {
        return Ok(Source::Script(script.open(context.partition_id(), &position)));
    }
    let options = &run.options;
    let mut receiver = run
        .instance
        .hub
        .partition_receiver(context.consumer_group().clone(), context.partition_id().clone())
        .starting_position(position.clone())
        .prefetch(prefetch)
        .prefetch_bytes(options.prefetch_bytes)
        .track_last_enqueued_event_properties(options.track_last_enqueued);
    if let Some(level) = options.owner_level() {
        receiver = receiver.owner_level(level);
    }
    let opened = receiver.open().await?;
    log::reading(&position);
    Ok(Source::Receiver(Box::new(opened)))
}

pub(crate) fn not_opened(context: &PartitionContext, source: eventhubs_amqp::Error) -> Error {
    let has_bare_name = context.consumer_group().as_str().eq_ignore_ascii_case("default");
    let text = if source.kind() == AmqpKind::NotFound && has_bare_name {
        "the partition could not be opened (the default consumer group is called `$Default`)"
    } else {
        "the partition could not be opened"
    };
    Error::amqp(text, source).on_partition(context.partition_id())
}

fn not_at_checkpoint(context: &PartitionContext, source: eventhubs_amqp::Error) -> Error {
    let text = "the partition could not be opened at its checkpoint (on_invalid_position decides where to read instead)";
    Error::amqp(text, source).on_partition(context.partition_id())
}

fn damaged(context: &PartitionContext) -> Error {
    let text = "the checkpoint in the store is damaged: it has neither an offset nor a sequence number \
                (on_invalid_position decides where to read instead)";
    Error::new(ErrorKind::InvalidPosition, text).on_partition(context.partition_id())
}

fn recreated(context: &PartitionContext) -> Error {
    let text = "events came whose sequence numbers are not above the checkpoint: the event hub was re-created \
                (on_invalid_position decides where to read instead)";
    Error::new(ErrorKind::InvalidPosition, text).on_partition(context.partition_id())
}
