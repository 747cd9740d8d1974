//! One session: accept its links and run them.

use std::sync::Arc;

use fe2o3_amqp::acceptor::ListenerSessionHandle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::serve::context::{Connection, HANDSHAKE_TIMEOUT, Session};
use crate::serve::farewell::FAREWELL_TIMEOUT;
use crate::serve::link;
use crate::wire::numbers::ClientChannel;

/// Serves one session until the client or a fault ends it.
pub(crate) async fn serve(
    mut handle: ListenerSessionHandle,
    channel: ClientChannel,
    connection: Arc<Connection>,
) {
    let entry = connection.broker.peers.enter_session();
    let switch = connection.shared.switch.clone();
    let state = Session { id: entry.id, channel, outbox: connection.shared.outbox(channel), connection };
    // outlives the farewell: a link that is dropped earlier would send a detach of its own
    let mut links = JoinSet::new();
    let reason = tokio::select! {
        () = serve_links(&mut handle, &mut links, &state) => return,
        reason = entry.stop.stopped() => reason,
    };
    if timeout(FAREWELL_TIMEOUT, handle.end_with_error(reason)).await.is_err() {
        // the library spins while it waits for an end that does not come
        switch.pull();
    }
}

async fn serve_links(handle: &mut ListenerSessionHandle, links: &mut JoinSet<()>, state: &Session) {
    loop {
        tokio::select! {
            attach = handle.next_incoming_attach() => {
                let Some(attach) = attach else { return };
                // Also of a link that is refused or gets no answer: the next one may have its name.
                let link_state = state.take_state(&attach);
                let Some(judged) = link::judge(state, &attach).await else { continue };
                match timeout(HANDSHAKE_TIMEOUT, link::accept(handle, state, attach, judged, link_state)).await {
                    Ok(Some(task)) => drop(links.spawn(task)),
                    Ok(None) => {}
                    // The attach is half done inside the library, which cannot be asked to forget it.
                    Err(_) => return state.connection.shared.switch.pull(),
                }
            }
            Some(_) = links.join_next() => {}
        }
    }
}
