//! What a test decides about single requests of clients.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs_types::Value;
use tokio::time::sleep;

use crate::condition::Condition;
use crate::sync::lock;

/// Something that a client asks for, before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request<'a> {
    /// What is asked for.
    pub kind: RequestKind,
    /// The connection; see [`ConnectedClient::id`](crate::ConnectedClient::id).
    pub connection_id: u64,
    /// The audience of a token, the event hub or partition that is read, or the address of the link.
    pub address: &'a str,
    /// How many bytes the message has that is sent; 0 for anything else.
    pub size: usize,
}

/// What clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// A token is put.
    PutToken,
    /// The properties of a hub or of a partition are read.
    Read,
    /// A link is attached, also one of `$cbs` or `$management`.
    Attach,
    /// A producer sends a message, or a batch.
    Send,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is served.
    Pass,
    /// It is refused, with a condition such as `com.microsoft:server-busy` and a text.
    Refuse {
        /// The condition of the detach, of the rejection, or in the response.
        condition: String,
        /// The text with it.
        description: String,
    },
    /// A [`Read`](RequestKind::Read) is answered with this, instead of what is true; anything else is served.
    Answer(Value),
    /// It is served so much later, and all that its link, or for an attach its session, asks for after it.
    Delay(Duration),
    /// Nothing happens, and the client never hears of it.
    Drop,
}

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Refused(Condition),
    Dropped,
}

type Judge = dyn Fn(&Request<'_>) -> Verdict + Send + Sync;

/// Who decides; nobody by default.
#[derive(Default)]
pub(crate) struct Interceptor {
    judge: Mutex<Option<Arc<Judge>>>,
    /// How late requests to the nodes are answered.
    delay: Mutex<Duration>,
}

impl Interceptor {
    pub(crate) fn set(&self, judge: Option<Arc<Judge>>) {
        *lock(&self.judge) = judge;
    }

    pub(crate) fn delay_requests(&self, by: Duration) {
        *lock(&self.delay) = by;
    }

    /// Waits as long as the request has to. Returns what to answer instead of the truth.
    ///
    /// # Errors
    /// When it is not to be served.
    pub(crate) async fn judge(&self, request: Request<'_>) -> Result<Option<Value>, Denied> {
        if matches!(request.kind, RequestKind::PutToken | RequestKind::Read) {
            let delay = *lock(&self.delay);
            if !delay.is_zero() {
                sleep(delay).await;
            }
        }
        // Cloned, so that the lock is free while the test decides: it may take long, or replace the judge.
        let judge = lock(&self.judge).clone();
        match judge.map_or(Verdict::Pass, |judge| judge(&request)) {
            Verdict::Pass => Ok(None),
            Verdict::Answer(value) => Ok((request.kind == RequestKind::Read).then_some(value)),
            Verdict::Refuse { condition, description } => {
                Err(Denied::Refused(Condition::new(condition, description)))
            }
            Verdict::Delay(delay) => {
                sleep(delay).await;
                Ok(None)
            }
            Verdict::Drop => Err(Denied::Dropped),
        }
    }
}

impl fmt::Debug for Interceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interceptor").finish_non_exhaustive()
    }
}
