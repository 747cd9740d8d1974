//! One client: accept its connection, serve its sessions, end it.

use std::sync::Arc;
use std::time::Duration;

use eventhubs_amqp_frames::KillSwitch;
use fe2o3_amqp::acceptor::{
    ConnectionAcceptor, IncomingSession, ListenerConnectionHandle, ListenerSessionHandle, SessionAcceptor,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::condition::{CONNECTION_FORCED, Condition};
use crate::serve::broker::Broker;
use crate::serve::context::{Connection, HANDSHAKE_TIMEOUT};
use crate::serve::farewell::FAREWELL_TIMEOUT;
use crate::serve::peers::Handles;
use crate::serve::replies::ReplyLinks;
use crate::serve::sasl::Sasl;
use crate::serve::session;
use crate::transport;
use crate::wire::inspector::Inspector;
use crate::wire::numbers::ClientChannel;
use crate::wire::stream::client_stream;

const CONTAINER: &str = "eventhubs-emulator";
/// The Python SDK cannot compare with a limit that is left out.
const MAX_HANDLE: u32 = 255;
/// Ends the stream with the task that serves the client: the AMQP library would keep it open.
struct CutOnDrop(KillSwitch);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.pull();
    }
}

/// Serves one client until it leaves, a fault ends it, or the emulator stops.
pub(crate) async fn serve(stream: TcpStream, broker: Arc<Broker>, shutdown: CancellationToken) {
    let handles = Handles { address: stream.peer_addr().ok(), ..Handles::default() };
    let _cut_at_the_end = CutOnDrop(handles.shared.switch.clone());
    let entry = broker.peers.enter_connection(handles.clone());
    // Small frames answer each other; Nagle's algorithm would hold each back for the acknowledgement of the
    // one before. Without it all is slower and nothing is wrong, so an error does not matter.
    let _ = stream.set_nodelay(true);
    let accepted = tokio::select! {
        accepted = accept(stream, Arc::clone(&broker), handles.clone()) => accepted,
        // Without a farewell: the connection is not open, so there is no performative to say it with.
        _ = entry.stop.stopped() => return,
        () = shutdown.cancelled() => return,
    };
    let Some(mut handle) = accepted else { return };
    let Handles { grants, shared, .. } = handles;
    let idle_timeout = broker.idle_timeout;
    let state = Connection {
        id: entry.id,
        broker,
        replies: ReplyLinks::default(),
        grants,
        shared: Arc::clone(&shared),
    };
    // outlive the farewell: a session that is dropped earlier would send an end of its own
    let mut sessions = JoinSet::new();
    let reason = tokio::select! {
        () = serve_sessions(&mut handle, &mut sessions, Arc::new(state)) => return,
        reason = entry.stop.stopped() => reason,
        () = shutdown.cancelled() => Condition::new(CONNECTION_FORCED, "The emulator stops."),
        () = shared.silent(idle_timeout), if !idle_timeout.is_zero() => inactive(idle_timeout),
    };
    let _ = timeout(FAREWELL_TIMEOUT, handle.close_with_error(reason)).await;
}

/// Less than what is allowed, in the measure of the service: 240 s of 300 s (docs/contract.md §2). Some
/// clients send as seldom as they may.
fn announced(idle_timeout: Duration) -> Duration {
    idle_timeout * 4 / 5
}

/// What the service says to a client that is silent for too long (docs/contract.md §2).
fn inactive(limit: Duration) -> Condition {
    let text = format!(
        "The connection was inactive for more than the allowed {} milliseconds and is closed by container '{CONTAINER}'.",
        limit.as_millis()
    );
    Condition::new(CONNECTION_FORCED, text)
}

/// In a task of its own: the library panics on some malformed input before the connection is open.
async fn accept(
    stream: TcpStream,
    broker: Arc<Broker>,
    handles: Handles,
) -> Option<ListenerConnectionHandle> {
    let limits = broker.limits();
    let acceptor = ConnectionAcceptor::builder()
        .container_id(CONTAINER)
        .max_frame_size(limits.frame)
        .sasl_acceptor(Sasl { broker: Arc::clone(&broker), grants: handles.grants.clone() })
        .build();
    let mut task = JoinSet::new();
    let open = async move {
        let stream = transport::accept(stream, &broker.transports).await?;
        let (shared, starved) = (Arc::clone(&handles.shared), broker.starved.subscribe());
        let inspector = Inspector::new(shared, starved, limits, announced(broker.idle_timeout));
        let wire = client_stream(stream, inspector, Arc::clone(&handles.shared));
        acceptor.accept(wire).await
    };
    task.spawn(timeout(HANDSHAKE_TIMEOUT, open));
    match task.join_next().await? {
        Ok(Ok(Ok(handle))) => Some(handle),
        failed => {
            debug!(?failed, "a client did not open its connection");
            None
        }
    }
}

async fn serve_sessions(
    handle: &mut ListenerConnectionHandle,
    sessions: &mut JoinSet<()>,
    state: Arc<Connection>,
) {
    loop {
        tokio::select! {
            incoming = handle.next_incoming_session() => {
                let Some(incoming) = incoming else { return };
                let channel = ClientChannel(incoming.channel);
                if let Some(session) = begin(handle, incoming).await {
                    sessions.spawn(session::serve(session, channel, Arc::clone(&state)));
                }
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

async fn begin(
    handle: &mut ListenerConnectionHandle,
    incoming: IncomingSession,
) -> Option<ListenerSessionHandle> {
    let acceptor = SessionAcceptor::builder().handle_max(MAX_HANDLE).build();
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept_incoming_session(incoming, handle)).await {
        Ok(Ok(session)) => Some(session),
        failed => {
            debug!(?failed, "a session did not begin");
            None
        }
    }
}
