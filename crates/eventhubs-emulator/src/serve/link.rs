//! One link: what its address asks for, whether the client may, and who serves it.

use std::future::{self, Future};
use std::pin::Pin;
use std::sync::Arc;

use fe2o3_amqp::acceptor::{LinkAcceptor, LinkEndpoint, ListenerSessionHandle};
use fe2o3_amqp_types::definitions::{ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Source, Target, TargetArchetype};
use fe2o3_amqp_types::performatives::Attach;
use tokio::sync::mpsc;
use tracing::debug;

use crate::auth::address::Address;
use crate::auth::grants;
use crate::condition::{Condition, NOT_ALLOWED, NOT_IMPLEMENTED, UNAUTHORIZED};
use crate::event::message::AnyMessage;
use crate::serve::consumer::ConsumerLink;
use crate::serve::context::Connection;
use crate::serve::context::Session;
use crate::serve::farewell;
use crate::serve::intercept::{Denied, Request, RequestKind};
use crate::serve::node;
use crate::serve::producer::ProducerLink;
use crate::serve::replies::Node;
use crate::serve::stop::Stop;
use crate::wire::attaching::LinkState;
use crate::wire::inspector::SECOND;
use crate::wire::link_ends::{LinkInbox, LinkOutbox};

/// What runs a link until it ends.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who serves a link.
enum Service {
    Consumer(ConsumerLink),
    Producer(ProducerLink),
    Requests(Node, LinkInbox),
    Responses(mpsc::Receiver<AnyMessage>, LinkOutbox),
}

/// Asks the interceptor about an attach. Not even an answer if it says nothing.
pub(crate) async fn judge(session: &Session, attach: &Attach) -> Option<Result<(), Condition>> {
    let address = address(attach);
    let request = Request {
        kind: RequestKind::Attach,
        connection_id: session.connection.id,
        address: &address,
        size: 0,
    };
    match session.connection.broker.interceptor.judge(request).await {
        Ok(_) => Some(Ok(())),
        Err(Denied::Refused(reason)) => Some(Err(reason)),
        Err(Denied::Dropped) => None,
    }
}

/// Accepts a link, or refuses it as the service does: with a null terminus, then a detach that says why
/// (docs/contract.md §5.3).
pub(crate) async fn accept(
    handle: &mut ListenerSessionHandle,
    session: &Session,
    mut attach: Attach,
    judged: Result<(), Condition>,
    state: LinkState,
) -> Option<Task> {
    let service = judged.and_then(|()| admit(session, &attach, state));
    let address = address(&attach);
    normalise(&mut attach, service.is_err());
    let capabilities = attach.desired_capabilities.clone().map(Vec::from).unwrap_or_default();
    let limits = session.connection.broker.limits();
    let acceptor = LinkAcceptor::builder().max_message_size(limits.message);
    let acceptor =
        if capabilities.is_empty() { acceptor } else { acceptor.set_offered_capabilities(capabilities) };
    let endpoint = match acceptor.build().accept_incoming_attach(attach, handle).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            debug!(%error, "a link did not attach");
            return None;
        }
    };
    Some(match service {
        Ok(service) => serve(service, endpoint, session, address),
        Err(reason) => Box::pin(close(endpoint, reason)),
    })
}

/// Answers what clients cannot agree on otherwise: to consumers everything goes settled, of producers everything is
/// settled first, whatever they ask for.
fn normalise(attach: &mut Attach, refused: bool) {
    let source = attach.source.take().unwrap_or_else(|| Box::new(Source::default()));
    let target = attach.target.take().unwrap_or_else(|| Box::new(TargetArchetype::Target(Target::default())));
    let reads = attach.role == Role::Receiver;
    if reads {
        attach.snd_settle_mode = SenderSettleMode::Settled;
    } else {
        // what it would take, which the library would apply to the envelopes of what it sends
        attach.max_message_size = None;
    }
    attach.rcv_settle_mode = ReceiverSettleMode::First;
    attach.source = (!(refused && reads)).then_some(source);
    attach.target = (!refused || reads).then_some(target);
}

/// Finds who serves a link, and takes what it needs for that.
fn admit(session: &Session, attach: &Attach, state: LinkState) -> Result<Service, Condition> {
    if matches!(attach.target.as_deref(), Some(TargetArchetype::Coordinator(_))) {
        return Err(Condition::new(NOT_IMPLEMENTED, "There are no transactions in an event hub."));
    }
    let address = address(attach);
    let grants = &session.connection.grants;
    let now_ms = session.connection.broker.clock.now_ms();
    match Address::parse(&address) {
        Address::Cbs => admit_to_node(session, attach, Node::Cbs, state),
        // Each request is judged, by its own token or one that came over CBS.
        Address::Management => admit_to_node(session, attach, Node::Management, state),
        _ if !grants.borrow().open(&address, now_ms) => Err(unauthorized(&address)),
        entity => admit_to_entity(session, attach, &address, &entity, state),
    }
}

fn admit_to_node(
    session: &Session,
    attach: &Attach,
    node: Node,
    state: LinkState,
) -> Result<Service, Condition> {
    let outbox = match state {
        LinkState::Sending(link) => session.way_out(link),
        LinkState::Receiving(link) => return Ok(Service::Requests(node, session.way_in(link))),
    };
    let names = [target_address(attach), attach.name.trim_end_matches(SECOND).to_owned()];
    let responses = session.connection.replies.open(node, session.id, names)?;
    Ok(Service::Responses(responses, outbox))
}

fn admit_to_entity(
    session: &Session,
    attach: &Attach,
    address: &str,
    entity: &Address,
    state: LinkState,
) -> Result<Service, Condition> {
    match (entity, state) {
        (Address::ConsumerGroup { hub, group, partition }, LinkState::Sending(link)) => {
            let names = [hub.as_str(), group, partition];
            ConsumerLink::admit(session, attach, address, names, session.way_out(link)).map(Service::Consumer)
        }
        (Address::Hub { hub }, LinkState::Receiving(link)) => {
            let target = (hub.as_str(), None);
            ProducerLink::admit(session, attach, address, target, session.way_in(link)).map(Service::Producer)
        }
        (Address::Partition { hub, partition }, LinkState::Receiving(link)) => {
            let target = (hub.as_str(), Some(partition.as_str()));
            ProducerLink::admit(session, attach, address, target, session.way_in(link)).map(Service::Producer)
        }
        (Address::Unknown, _) => Err(Condition::entity_not_found(address)),
        _ => {
            let text = format!("The address '{address}' is not for links of this direction.");
            Err(Condition::new(NOT_ALLOWED, text))
        }
    }
}

fn unauthorized(address: &str) -> Condition {
    Condition::new(
        UNAUTHORIZED,
        format!("Unauthorized access. The connection holds no valid token for the resource '{address}'."),
    )
}

/// The node at our end.
fn address(attach: &Attach) -> String {
    let source = || attach.source.as_ref().and_then(|source| source.address.clone());
    match attach.role {
        Role::Receiver => source().unwrap_or_default(),
        Role::Sender => target_address(attach),
    }
}

fn target_address(attach: &Attach) -> String {
    match attach.target.as_deref() {
        Some(TargetArchetype::Target(target)) => target.address.clone().unwrap_or_default(),
        Some(TargetArchetype::Coordinator(_)) | None => String::new(),
    }
}

fn serve(service: Service, endpoint: LinkEndpoint, session: &Session, address: String) -> Task {
    let connection = Arc::clone(&session.connection);
    match (service, endpoint) {
        (Service::Consumer(link), LinkEndpoint::Sender(sender)) => {
            Box::pin(while_open(link.stop(), link.run(sender), connection, address))
        }
        (Service::Producer(link), LinkEndpoint::Receiver(receiver)) => {
            Box::pin(while_open(link.stop(), link.run(receiver), connection, address))
        }
        (Service::Responses(responses, outbox), LinkEndpoint::Sender(sender)) => {
            Box::pin(node::send_responses(sender, responses, outbox))
        }
        (Service::Requests(node, inbox), LinkEndpoint::Receiver(receiver)) => {
            Box::pin(node::serve_requests(receiver, inbox, node, session.id, connection))
        }
        (_, endpoint) => unreachable!("the role of the attach decides both: {endpoint:?}"),
    }
}

/// Runs a link of an entity, and asks it to end when no token opens the entity any more.
async fn while_open(
    stop: Stop,
    link: impl Future<Output = ()>,
    connection: Arc<Connection>,
    address: String,
) {
    let expiry = async {
        grants::expired(&connection.grants, &connection.broker.clock, &address).await;
        stop.stop(Condition::new(UNAUTHORIZED, "ExpiredToken: The token is expired."));
        // The link has to say why it ends, which it does as soon as it hears of the stop; this branch must
        // not win the select.
        future::pending::<()>().await;
    };
    tokio::select! {
        () = link => {}
        () = expiry => {}
    }
}

async fn close(endpoint: LinkEndpoint, reason: Condition) {
    match endpoint {
        LinkEndpoint::Sender(sender) => farewell::close_sender(sender, reason).await,
        LinkEndpoint::Receiver(receiver) => farewell::close_receiver(receiver, reason).await,
    }
}
