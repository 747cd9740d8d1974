//! Links over which nothing comes although the event hub has events: found by asking the event hub, and attached again.
//! When to ask is decided in `policy/quiet.rs`; calls that do not end are found in `calling.rs`.

use std::mem;
use std::sync::Arc;

use eventhubs_amqp::ReceivedEvent;
use eventhubs_types::SequenceNumber;

use crate::exit::Exit;
use crate::observe::Observation;
use crate::policy::quiet::is_to_come;
use crate::pump::Pump;
use crate::source::Source;
use crate::status::Stall;
use crate::{Error, ErrorKind};

impl Pump {
    /// Asks for the newest event of a partition whose link is quiet, and returns the events that come meanwhile.
    pub(super) async fn ask_for_newest(
        &mut self,
        source: &mut Source,
        most: usize,
    ) -> Result<Vec<ReceivedEvent>, Exit> {
        let run = Arc::clone(&self.run);
        // Without a turn it is asked later: there is one limit for all partitions of the client.
        if !run.instance.board.may_look_up() {
            self.quiet.unanswered();
            return Ok(Vec::new());
        }
        let partition = self.context.partition_id().clone();
        let answer = tokio::select! {
            biased;
            events = self.receive(source, most, None) => {
                self.quiet.over();
                self.link_recovered();
                return events;
            }
            answer = run.newest(&partition) => answer,
        };
        match answer {
            Ok(newest) => {
                let newest = newest.and_then(|newest| self.to_come(newest));
                self.quiet.answered(newest);
                if newest.is_none() {
                    self.link_recovered();
                }
            }
            // Whether it can be reached is not what is asked here: the link finds out itself.
            Err(error) => {
                tracing::debug!(%partition, %error, "the newest event is not known");
                self.quiet.unanswered();
            }
        }
        Ok(Vec::new())
    }

    /// The newest event, if it has not come.
    fn to_come(&self, newest: SequenceNumber) -> Option<SequenceNumber> {
        self.context.gauges().set_newest(newest);
        is_to_come(newest, self.progress.standing()).then_some(newest)
    }

    /// Why the link is given up.
    pub(super) fn link_stalled(&mut self, newest: SequenceNumber) -> Exit {
        let partition = self.context.partition_id();
        let stall = Stall::Link { reached: self.progress.reached(), newest };
        self.is_stalled = true;
        self.context.gauges().set_stall(stall);
        self.run.observe(&Observation::Stalled { partition, stall });
        let text = format!("the link is stalled, and is attached again: {stall}");
        Exit::ReceiveFailed(Error::new(ErrorKind::Timeout, text).passing().on_partition(partition))
    }

    /// An event has come, or there is none that is to come.
    pub(super) fn link_recovered(&mut self) {
        if !mem::take(&mut self.is_stalled) {
            return;
        }
        if let Some(since) = self.context.gauges().take_stall() {
            let (partition, after) = (self.context.partition_id(), since.elapsed());
            self.run.observe(&Observation::StallEnded { partition, after });
        }
    }
}
