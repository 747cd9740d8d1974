//! A service for unit tests, at the other end of a stream in memory: with nothing outside the runtime, a
//! paused clock decides all its waits. It does what the emulator never does.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fe2o3_amqp::acceptor::sasl_acceptor::SaslAnonymousMechanism;
use fe2o3_amqp::acceptor::{
    ConnectionAcceptor, LinkAcceptor, LinkEndpoint, ListenerSessionHandle, SessionAcceptor,
};
use fe2o3_amqp::{Receiver, Sender};
use fe2o3_amqp_types::definitions::SenderSettleMode;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body, Data, Message, MessageAnnotations, Properties,
};
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value;
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::config::credential::{Credential, Secret};
use crate::connection::engine::Engine;
use crate::connection::shared::Connection;

/// How long the client under test waits for this peer; less than after which it takes silence for a loss.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Instead of a status: the pair of links is detached.
pub(crate) const DETACH: i32 = 0;

pub(crate) struct Peer {
    shared: Arc<Shared>,
    links: mpsc::Receiver<Sender>,
    silent: Arc<Notify>,
    credential: Credential,
}

struct Shared {
    attaches: Mutex<Vec<Attach>>,
    requests: Mutex<Vec<(String, Instant)>>,
    statuses: Mutex<VecDeque<i32>>,
    settle: Mutex<SenderSettleMode>,
    links: mpsc::Sender<Sender>,
}

impl Peer {
    /// A peer and a connection to it.
    pub(crate) async fn connect() -> (Self, Connection) {
        let (ours, near) = duplex(1 << 20);
        let (far, theirs) = duplex(1 << 20);
        let silent = Arc::<Notify>::default();
        tokio::spawn(pass_until(Arc::clone(&silent), near, far));
        let (sender, links) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            attaches: Mutex::default(),
            requests: Mutex::default(),
            statuses: Mutex::default(),
            settle: Mutex::new(SenderSettleMode::Settled),
            links: sender,
        });
        tokio::spawn(serve(theirs, Arc::clone(&shared)));
        let engine = Engine::over(Box::new(ours), "peer", "client", LIMIT).await.unwrap();
        let credential = Credential::given(Secret::key("Root", "key"));
        let connection = Connection::over(Arc::new(engine), credential.clone()).await.unwrap();
        (Self { shared, links, silent, credential }, connection)
    }

    /// What the client shows.
    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// From now on nothing arrives in either direction, and nothing is closed.
    pub(crate) fn go_silent(&self) {
        self.silent.notify_one();
    }

    /// The sending end of the next partition link that is attached.
    pub(crate) async fn link(&mut self) -> Sender {
        self.links.recv().await.unwrap()
    }

    /// Sends partition links unsettled from now on, although clients ask for settled.
    pub(crate) fn send_unsettled(&self) {
        *self.shared.settle.lock().unwrap() = SenderSettleMode::Unsettled;
    }

    /// What the next requests are answered with; 202 when none is left, and [`DETACH`] for none.
    pub(crate) fn answer(&self, statuses: impl IntoIterator<Item = i32>) {
        self.shared.statuses.lock().unwrap().extend(statuses);
    }

    /// The audiences of the requests that came, and when.
    pub(crate) fn requests(&self) -> Vec<(String, Instant)> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// What was asked for in the attach of the last partition link.
    pub(crate) fn last_attach(&self) -> Attach {
        self.shared.attaches.lock().unwrap().last().unwrap().clone()
    }
}

/// An event with this number.
pub(crate) fn event(number: i64) -> Message<Data> {
    let annotations =
        [("x-opt-sequence-number", Value::Long(number)), ("x-opt-offset", Value::String(number.to_string()))];
    let annotations = annotations.into_iter().map(|(key, value)| (key.into(), value)).collect();
    Message::builder().message_annotations(MessageAnnotations(annotations)).data(b"x".to_vec()).build()
}

/// Passes everything on until notified.
async fn pass_until(silent: Arc<Notify>, mut near: DuplexStream, mut far: DuplexStream) {
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        () = silent.notified() => pending().await,
    }
}

async fn serve(stream: DuplexStream, shared: Arc<Shared>) {
    let acceptor = ConnectionAcceptor::builder()
        .container_id("peer")
        .sasl_acceptor(SaslAnonymousMechanism::new())
        .build();
    let mut connection = acceptor.accept(stream).await.unwrap();
    while let Ok(session) = SessionAcceptor::new().accept(&mut connection).await {
        tokio::spawn(serve_session(session, Arc::clone(&shared)));
    }
}

async fn serve_session(mut session: ListenerSessionHandle, shared: Arc<Shared>) {
    let mut answers = None;
    while let Some(mut attach) = session.next_incoming_attach().await {
        let address = attach.source.as_ref().and_then(|source| source.address.clone()).unwrap_or_default();
        let to_node = address.starts_with('$');
        if !to_node {
            shared.attaches.lock().unwrap().push(attach.clone());
            attach.snd_settle_mode = shared.settle.lock().unwrap().clone();
        }
        match LinkAcceptor::new().accept_incoming_attach(attach, &mut session).await.unwrap() {
            LinkEndpoint::Sender(sender) if to_node => answers = Some(sender),
            LinkEndpoint::Sender(sender) => shared.links.send(sender).await.unwrap(),
            LinkEndpoint::Receiver(requests) => {
                tokio::spawn(answer_all(requests, answers.take().unwrap(), Arc::clone(&shared)));
            }
        }
    }
}

async fn answer_all(mut requests: Receiver, mut answers: Sender, shared: Arc<Shared>) {
    while let Ok(request) = requests.recv::<Body<Value>>().await {
        requests.accept(&request).await.unwrap();
        let message = request.into_message();
        let name =
            message.application_properties.as_ref().and_then(|properties| properties.0.get("name").cloned());
        let Some(SimpleValue::String(audience)) = name else { panic!("a request without a name") };
        shared.requests.lock().unwrap().push((audience, Instant::now()));
        let status = shared.statuses.lock().unwrap().pop_front().unwrap_or(202);
        if status == DETACH {
            return;
        }
        // An answer to nobody comes first: the client must not take it for its own.
        let own = message.properties.and_then(|properties| properties.message_id);
        for (correlation_id, status) in [(Some(u64::MAX.into()), 500), (own, status)] {
            let properties = Properties { correlation_id, ..Properties::default() };
            let status =
                ApplicationProperties([("status-code".to_owned(), status.into())].into_iter().collect());
            let answer =
                Message::builder().properties(properties).application_properties(status).value(Value::Null);
            answers.send(answer.build()).await.unwrap();
        }
    }
}
