//! The end of a bounded run on one partition: asks the service where it is, and cuts off what comes after it. Which
//! events come before it is decided in `policy/until.rs`.

use std::sync::Arc;
use std::time::Duration;

use eventhubs_amqp::{PartitionProperties, ReceivedEvent};
use eventhubs_types::{PartitionId, SequenceNumber};
use tokio::time::Instant;

use crate::ambient::wall_clock;
use crate::policy::until::{Decision, Extent, Limit, Standing, Until};
use crate::run::Run;
use crate::{Error, ErrorKind, Result};

/// How long no event may come before the service is asked whether any is left: those up to the bound may have expired.
const QUIET: Duration = Duration::from_secs(10);

/// The shortest time between two questions.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Knows where a partition ends, and whether it was read to there.
#[derive(Debug)]
pub(crate) struct Bounded {
    run: Arc<Run>,
    partition: PartitionId,
    until: Until,
    limit: Limit,
    is_reached: bool,
    /// When the service is to be asked.
    next_look: Instant,
}

impl Bounded {
    /// Returns `None` in a run without a bound.
    pub(crate) fn new(run: &Arc<Run>, partition: &PartitionId) -> Option<Self> {
        let until = run.options.until.clone()?;
        Some(Self {
            run: Arc::clone(run),
            partition: partition.clone(),
            limit: until.limit(partition),
            until,
            is_reached: false,
            next_look: Instant::now(),
        })
    }

    /// Whether everything up to the bound was received since the link opened.
    pub(crate) fn is_reached(&self) -> bool {
        self.is_reached
    }

    /// When [`look`](Self::look) is due, unless an event comes before.
    pub(crate) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// The numbers of the event hub start again.
    pub(crate) fn recreated(&mut self) {
        self.run.forget_end(&self.partition);
        self.limit = self.until.limit(&self.partition);
    }

    /// The partition was opened, perhaps once more.
    ///
    /// # Errors
    /// When the service does not say where it ends.
    pub(crate) async fn opened(&mut self, standing: Standing<'_>) -> Result<()> {
        self.is_reached = false;
        match self.until.idle_time() {
            Some(_) => self.put_off(),
            None => self.ask(standing).await?,
        }
        Ok(())
    }

    /// Asks the service, unless there is a time to wait for, whether anything is left to read.
    ///
    /// # Errors
    /// When it does not answer. Then it is asked again later.
    ///
    /// # Cancel safety
    /// If dropped, the next look is due at once.
    pub(crate) async fn look(&mut self, standing: Standing<'_>) -> Result<()> {
        if self.until.time_left(wall_clock()).is_some() {
            self.put_off();
            return Ok(());
        }
        let asked = self.ask(standing).await;
        self.next_look = self.next_look.max(Instant::now() + MIN_PAUSE);
        match asked {
            // A token for the consumer group alone may read, but not ask: the time without events decides alone.
            Err(error) if error.kind() == ErrorKind::Unauthorized && self.until.idle_time().is_some() => {
                self.is_reached = true;
                Ok(())
            }
            asked => asked,
        }
    }

    async fn ask(&mut self, standing: Standing<'_>) -> Result<()> {
        // Before the question: what is enqueued until the answer comes may be after the time.
        let ends_with_newest = self.until.ends_with_newest(wall_clock());
        let failure = "the end of the partition could not be looked up";
        let answer = self.run.instance.partition_properties(&self.partition, failure).await;
        self.put_off();
        let extent = self.extent(answer?)?;
        if ends_with_newest {
            self.limit.last = Some(self.run.fix_end(&self.partition, extent.newest));
        }
        let last = self.limit.last.or_else(|| self.until.idle_time().map(|_| extent.newest));
        self.is_reached |= last.is_some_and(|last| standing.is_past(last, &extent));
        Ok(())
    }

    /// What the service says, unless it contradicts itself: a run that trusted that might end too early.
    fn extent(&self, answer: PartitionProperties) -> Result<Extent> {
        let is_sound = answer.after_newest_event().is_some();
        let Some(newest) = answer.last_enqueued_sequence_number.filter(|_| is_sound) else {
            let text = "the service does not say what the newest event of the partition is";
            return Err(Error::new(ErrorKind::Protocol, text).passing().on_partition(&self.partition));
        };
        Ok(Extent {
            oldest: answer.beginning_sequence_number,
            newest: SequenceNumber::new(newest.value().max(-1)),
            newest_offset: answer.last_enqueued_offset,
            newest_time: answer.last_enqueued_time,
            is_empty: answer.is_empty,
        })
    }

    /// Events came, or the answer: the next look is as long away as may be waited for events, or for the time.
    fn put_off(&mut self) {
        let quiet = self.until.idle_time().unwrap_or(QUIET);
        let wait = self.until.time_left(wall_clock()).map_or(quiet, |left| left.min(quiet));
        self.next_look = Instant::now() + wait;
    }

    /// Leaves the events that come before the bound.
    pub(crate) fn cut(&mut self, events: &mut Vec<ReceivedEvent>) {
        if events.is_empty() {
            return;
        }
        self.put_off();
        for (place, event) in events.iter().enumerate() {
            let within = match self.limit.decide(event.sequence_number(), event.enqueued_time()) {
                Decision::HandOut => continue,
                Decision::HandOutLast => place + 1,
                Decision::Stop => place,
            };
            self.is_reached = true;
            events.truncate(within);
            return;
        }
    }
}
