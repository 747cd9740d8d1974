//! A fault as a value, for schedules and for control over a wire.

use std::time::Duration;

use serde::Deserialize;

use crate::emulator::Emulator;
use crate::error::Result;
use crate::hub::faults::Throttle;

/// A fault; the method of [`Emulator`] of the same name says what it does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the methods tell, and their arguments have the names of the fields")]
pub enum Fault {
    AdvanceClock {
        seconds: u64,
    },
    CloseConnections {
        condition: String,
        #[serde(default)]
        description: String,
    },
    CorruptFrames {
        count: u32,
    },
    DeafenConnections {},
    DelayDeliveries {
        event_hub: String,
        milliseconds: u64,
    },
    DelayRequests {
        milliseconds: u64,
    },
    DetachLinks {
        event_hub: String,
        condition: String,
        #[serde(default)]
        description: String,
    },
    DropConnections {},
    EndSessions {
        event_hub: String,
        condition: String,
        #[serde(default)]
        description: String,
    },
    ExpireTokens {},
    FailOver {
        event_hub: String,
    },
    FeedProducers {
        event_hub: String,
    },
    FreezeConnections {},
    MuteConnections {},
    PauseDeliveries {
        event_hub: String,
    },
    RefuseAttaches {
        event_hub: String,
        count: usize,
        condition: String,
        #[serde(default)]
        description: String,
    },
    RefuseSends {
        event_hub: String,
        count: usize,
        condition: String,
        #[serde(default)]
        description: String,
    },
    ResumeDeliveries {
        event_hub: String,
    },
    SlowConnections {
        bytes_per_second: u32,
    },
    StarveProducers {
        event_hub: String,
    },
    ThrottleFor {
        event_hub: String,
        milliseconds: u64,
    },
    ThrottleNext {
        event_hub: String,
        count: usize,
    },
}

impl Emulator {
    /// Injects a fault. Says how many links, sessions or connections were hit; `None` for what hits later ones.
    ///
    /// # Errors
    /// When the event hub does not exist, or a fail-over cannot be written to the data folder.
    pub fn inject(&self, fault: &Fault) -> Result<Option<usize>> {
        let hit = match fault {
            Fault::CloseConnections { condition, description } => {
                self.close_connections(condition, description)
            }
            Fault::CorruptFrames { count } => self.corrupt_frames(*count),
            Fault::DeafenConnections {} => self.deafen_connections(),
            Fault::DetachLinks { event_hub, condition, description } => {
                self.detach_links(event_hub, condition, description)
            }
            Fault::DropConnections {} => self.drop_connections(),
            Fault::EndSessions { event_hub, condition, description } => {
                self.end_sessions(event_hub, condition, description)
            }
            Fault::ExpireTokens {} => self.expire_tokens(),
            Fault::FailOver { event_hub } => self.fail_over(event_hub)?,
            Fault::FreezeConnections {} => self.freeze_connections(),
            Fault::MuteConnections {} => self.mute_connections(),
            Fault::SlowConnections { bytes_per_second } => self.slow_connections(*bytes_per_second),
            lasting => return self.inject_lasting(lasting).map(|()| None),
        };
        Ok(Some(hit))
    }

    /// A fault that hits what comes later.
    fn inject_lasting(&self, fault: &Fault) -> Result<()> {
        let ms = Duration::from_millis;
        match fault {
            Fault::AdvanceClock { seconds } => self.advance_clock(Duration::from_secs(*seconds)),
            Fault::DelayDeliveries { event_hub, milliseconds } => {
                self.delay_deliveries(event_hub, ms(*milliseconds))?;
            }
            Fault::DelayRequests { milliseconds } => self.delay_requests(ms(*milliseconds)),
            Fault::FeedProducers { event_hub } => self.feed_producers(event_hub)?,
            Fault::PauseDeliveries { event_hub } => self.pause_deliveries(event_hub)?,
            Fault::RefuseAttaches { event_hub, count, condition, description } => {
                self.refuse_attaches(event_hub, *count, condition, description)?;
            }
            Fault::RefuseSends { event_hub, count, condition, description } => {
                self.refuse_sends(event_hub, *count, condition, description)?;
            }
            Fault::ResumeDeliveries { event_hub } => self.resume_deliveries(event_hub)?,
            Fault::StarveProducers { event_hub } => self.starve_producers(event_hub)?,
            Fault::ThrottleFor { event_hub, milliseconds } => {
                self.throttle(event_hub, Throttle::For(ms(*milliseconds)))?;
            }
            Fault::ThrottleNext { event_hub, count } => self.throttle(event_hub, Throttle::Next(*count))?,
            momentary => unreachable!("inject handles it: {momentary:?}"),
        }
        Ok(())
    }
}
