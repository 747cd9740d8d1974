//! One AMQP connection, and the task that owns its handle.
//!
//! Tests: those of `session.rs` and `requests.rs`, with a peer that falls silent; `tests/it/faults.rs`.

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use eventhubs_amqp_frames::{GuardedStream, KillSwitch, Limits};
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp_types::definitions::Fields;
use serde_amqp::Value;
use serde_amqp::primitives::Symbol;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::debug;

use crate::connection::library_error::{Failure, LinkFailure, close_error, open_error};
use crate::connection::session::{FAREWELL_TIMEOUT, Session};
use crate::recovery::conditions::Recovery;
use crate::tap::{MAX_FRAME_SIZE, Taps, TransferTap};
use crate::transport::Transport;
use crate::transport::stream::Io;
use crate::{Error, ErrorKind, Result};

/// A peer that is silent for this long is given up; it is told half of it.
const IDLE_TIMEOUT_MILLIS: u32 = 60_000;

/// Sessions that may wait to begin; each waits for the ones before it.
const MAX_WAITING: usize = 64;

/// A peer that takes nothing for this long is given up: the library neither reads nor looks at its clock
/// while it writes (docs/amqp-crate.md §4 no. 16).
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

const OPENING: &str = "opening the connection";

/// An open connection. Dropping it closes it in the background.
#[derive(Debug)]
pub(crate) struct Engine {
    commands: mpsc::Sender<Command>,
    ended: watch::Receiver<Option<Error>>,
    switch: KillSwitch,
    taps: Taps,
    /// How long the peer may take to answer anything but a farewell.
    limit: Duration,
}

enum Command {
    Begin(oneshot::Sender<Result<Session>>),
    Close,
}

impl Engine {
    /// Connects and opens; `container_id` names us to the service.
    pub(crate) async fn open(transport: &Transport, container_id: &str, limit: Duration) -> Result<Self> {
        let connecting = timeout(limit, transport.connect()).await;
        let stream = connecting.map_err(|_| no_answer(format!("connecting to {}", transport.target())))??;
        let opened = Self::over(stream, transport.endpoint().host().as_str(), container_id, limit).await;
        opened.map_err(|error| error.within(&format!("after connecting to {}", transport.target())))
    }

    /// Opens over a connected stream.
    pub(crate) async fn over(
        stream: Box<dyn Io>,
        host: &str,
        container_id: &str,
        limit: Duration,
    ) -> Result<Self> {
        let switch = KillSwitch::default();
        let taps = Taps::new(switch.clone());
        let limits = Limits::new(MAX_FRAME_SIZE).write_timeout(WRITE_TIMEOUT);
        let guarded = GuardedStream::new(stream, TransferTap::new(taps.clone()), switch.clone(), limits);
        let opening = fe2o3_amqp::Connection::builder()
            .container_id(container_id)
            .hostname(host)
            .max_frame_size(MAX_FRAME_SIZE)
            // A session for each partition, and hubs have up to 2 000; the default is 255.
            .channel_max(u16::MAX)
            .idle_time_out(IDLE_TIMEOUT_MILLIS)
            .properties(open_properties())
            .sasl_profile(SaslProfile::Anonymous)
            .open_with_stream(guarded);
        let opened = timeout(limit, opening).await.map_err(|_| no_answer(OPENING))?;
        let handle = opened.map_err(|e| open_error(OPENING, e))?;
        let (commands, waiting) = mpsc::channel(MAX_WAITING);
        let (end, ended) = watch::channel(None);
        tokio::spawn(drive(handle, waiting, switch.clone(), limit, end));
        Ok(Self { commands, ended, switch, taps, limit })
    }

    /// Whether it is worth trying to use it.
    pub(crate) fn is_live(&self) -> bool {
        // The task of a runtime that is gone has ended without a word.
        let is_driven = self.ended.has_changed().is_ok();
        is_driven && !self.switch.is_pulled() && self.ended.borrow().is_none()
    }

    /// Where links are tapped.
    pub(crate) fn taps(&self) -> &Taps {
        &self.taps
    }

    /// How long the peer may take to answer anything but a farewell.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Begins a session.
    pub(crate) async fn begin(&self) -> Result<Session> {
        let (reply, begun) = oneshot::channel();
        // A command that comes too late is kept with its reply, by the error or the channel: only the end
        // itself tells.
        let _unsent = self.commands.send(Command::Begin(reply)).await;
        tokio::select! {
            biased;
            Ok(begun) = begun => begun,
            cause = self.cause() => Err(cause),
        }
    }

    /// Runs an operation of the AMQP library, bounded in time and by the life of the connection: a send, for
    /// one, waits forever when the connection ends. After a time-out the library is
    /// in the middle of something that it cannot take back, so the connection is ended.
    pub(crate) async fn bounded<T, E: Failure>(
        &self,
        what: &str,
        operation: impl Future<Output = std::result::Result<T, E>>,
    ) -> Result<T> {
        let done = tokio::select! {
            // What is done is done, also when the connection ends at the same moment: a send that the service
            // has accepted must not be reported as lost.
            biased;
            done = timeout(self.limit, operation) => done,
            cause = self.cause() => return Err(cause),
            never = self.taps.wake_senders() => match never {},
        };
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.explain(error.failure(what)).await),
            Err(_) => {
                self.switch.pull();
                let silence = self.switch.last_read().map(|at| at.elapsed()).unwrap_or_default();
                Err(no_answer(format!("{what}; the service was last heard {silence:.1?} ago")))
            }
        }
    }

    /// The cause of a failure: the error of the connection, if that is what ended.
    pub(crate) async fn explain(&self, failure: LinkFailure) -> Error {
        let error = match failure {
            LinkFailure::Known(error) => error,
            LinkFailure::ConnectionEnded => self.cause().await,
        };
        // Its other links may not have noticed: without this each would run into its own time-out.
        if error.recovery() == Recovery::Reconnect {
            self.switch.pull();
        }
        error
    }

    /// Ends it without a word.
    pub(crate) fn kill(&self) {
        self.switch.pull();
    }

    /// Closes it, and waits a bounded time for the peer.
    pub(crate) async fn close(&self) {
        if self.commands.send(Command::Close).await.is_ok() {
            self.cause().await;
        }
    }

    /// Waits until it has ended, and says why.
    async fn cause(&self) -> Error {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(cause)) => cause.clone(),
            _ => Error::new(ErrorKind::Transport, "the connection ended"),
        }
    }
}

pub(crate) fn no_answer(what: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Timeout, what)
}

/// Owns the handle: begins sessions, and learns why the connection ends, which nobody else can
/// (docs/amqp-crate.md §4).
async fn drive(
    mut handle: ConnectionHandle<()>,
    mut waiting: mpsc::Receiver<Command>,
    switch: KillSwitch,
    limit: Duration,
    end: watch::Sender<Option<Error>>,
) {
    let cause = loop {
        tokio::select! {
            closed = handle.on_close() => break match closed {
                Ok(()) => Error::new(ErrorKind::Transport, "the service closed the connection"),
                Err(error) => close_error("the connection ended", error),
            },
            command = waiting.recv() => match command {
                // Without a reply, the caller asks why the connection ended.
                Some(Command::Begin(reply)) => if let Some(begun) = begin(&mut handle, &switch, limit).await {
                    let _ = reply.send(begun);
                },
                Some(Command::Close) | None => {
                    let _ = timeout(FAREWELL_TIMEOUT, handle.close()).await;
                    break Error::new(ErrorKind::Closed, "the client was closed");
                }
            },
        }
    };
    // Whatever the library still waits for ends now, and with it the task that nobody can abort.
    switch.pull();
    debug!(%cause, "connection ended");
    end.send_replace(Some(cause));
}

/// `None` if the connection ended.
async fn begin(
    handle: &mut ConnectionHandle<()>,
    switch: &KillSwitch,
    limit: Duration,
) -> Option<Result<Session>> {
    const WHAT: &str = "beginning a session";
    match timeout(limit, fe2o3_amqp::Session::begin(handle)).await {
        Ok(Ok(session)) => Some(Ok(Session::new(session, switch.clone()))),
        Ok(Err(error)) => match error.failure(WHAT) {
            LinkFailure::Known(error) => Some(Err(error)),
            LinkFailure::ConnectionEnded => None,
        },
        Err(_) => {
            switch.pull();
            Some(Err(no_answer(WHAT)))
        }
    }
}

/// Who we are (docs/contract.md §2.1).
fn open_properties() -> Fields {
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let user_agent = format!("eventhubs-rust/{version} ({platform})");
    [
        ("product", "eventhubs-rust".to_owned()),
        ("version", version.to_owned()),
        ("framework", "Rust".to_owned()),
        ("platform", platform),
        ("user-agent", user_agent),
    ]
    .into_iter()
    .map(|(key, value)| (Symbol::from(key), Value::String(value)))
    .collect()
}
