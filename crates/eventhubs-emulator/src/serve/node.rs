//! The links of the nodes `$cbs` and `$management`: requests come in on one, responses go out on another.

use std::iter;
use std::sync::Arc;

use bytes::Bytes;
use eventhubs_types::Value;
use fe2o3_amqp::{Receiver, Sender};
use tokio::sync::mpsc;

use crate::codec::library_value::to_wire;
use crate::condition::{Condition, DECODE_ERROR};
use crate::event::message::{self, AnyMessage};
use crate::serve::cbs;
use crate::serve::context::Connection;
use crate::serve::farewell;
use crate::serve::intercept::{Denied, Request, RequestKind};
use crate::serve::management;
use crate::serve::replies::Node;
use crate::serve::request_log::ReceivedRequest;
use crate::serve::response::{Response, string_property};
use crate::wire::link_ends::{LinkInbox, LinkOutbox};

/// Sends the responses until the client leaves.
pub(crate) async fn send_responses(
    mut sender: Sender,
    mut responses: mpsc::Receiver<AnyMessage>,
    outbox: LinkOutbox,
) {
    let send = async {
        loop {
            tokio::select! {
                response = responses.recv() => {
                    let Some(response) = response else { return };
                    let response = Bytes::from(message::encode(&response));
                    outbox.send(|| iter::once(response.clone())).await;
                }
                () = outbox.drained() => {}
            }
        }
    };
    tokio::select! {
        () = send => {}
        _ = sender.on_detach() => {}
    }
}

/// Answers the requests until the client leaves.
pub(crate) async fn serve_requests(
    mut receiver: Receiver,
    inbox: LinkInbox,
    node: Node,
    session: u64,
    connection: Arc<Connection>,
) {
    let serve = async {
        inbox.serve();
        while let Ok(request) = inbox.receive().await {
            let answered = match message::decode(&request.bytes) {
                Ok(decoded) => {
                    answer(node, session, &connection, &decoded).await;
                    Ok(())
                }
                Err(why) => Err(Condition::new(DECODE_ERROR, why)),
            };
            inbox.settle(&request, farewell::outcome(answered));
        }
    };
    tokio::select! {
        () = serve => {}
        () = farewell::detached(&mut receiver) => {}
    }
}

async fn answer(node: Node, session: u64, connection: &Connection, request: &AnyMessage) {
    let reply_to = request.properties.as_ref().and_then(|properties| properties.reply_to.as_deref());
    let Some(link) = connection.replies.find(node, session, reply_to) else {
        return;
    };
    let mut seen = received(node, connection.id, request);
    let response = match judge(node, connection, &seen).await {
        Ok(None) => respond(node, connection, request),
        Ok(Some(value)) => Response::value(to_wire(value)),
        Err(Denied::Refused(reason)) => Response::refusal(reason),
        // Recorded without a status: tests tell by that what was asked and never answered.
        Err(Denied::Dropped) => return connection.broker.requests.push(seen),
    };
    seen.status = Some(response.code());
    connection.broker.requests.push(seen);
    // a client that asks without taking answers loses them
    let _ = link.try_send(response.to(request));
}

async fn judge(node: Node, connection: &Connection, seen: &ReceivedRequest) -> Result<Option<Value>, Denied> {
    let kind = match node {
        Node::Cbs => RequestKind::PutToken,
        Node::Management => RequestKind::Read,
    };
    let address = match &seen.partition_id {
        Some(partition) => format!("{}/Partitions/{partition}", seen.name),
        None => seen.name.clone(),
    };
    let request = Request { kind, connection_id: connection.id, address: &address, size: 0 };
    connection.broker.interceptor.judge(request).await
}

fn respond(node: Node, connection: &Connection, request: &AnyMessage) -> Response {
    let (broker, grants) = (&connection.broker, &connection.grants);
    let now_ms = broker.clock.now_ms();
    match node {
        Node::Cbs => cbs::put_token(broker, grants, request, now_ms),
        Node::Management => management::read(broker, &grants.borrow(), request, now_ms),
    }
}

fn received(node: Node, connection_id: u64, request: &AnyMessage) -> ReceivedRequest {
    let property = |name| string_property(request, name).map(str::to_owned);
    ReceivedRequest {
        connection_id,
        node: node.address(),
        operation: property("operation").unwrap_or_default(),
        name: property("name").unwrap_or_default(),
        partition_id: property("partition"),
        status: None,
    }
}
