//! A client of the emulator, and its tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventhubs_emulator::{Builder, Emulator};
use eventhubs_test_harness::PATIENCE;
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::connection::OpenError;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::link::{ReceiverAttachError, SendError, SenderAttachError};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::transaction::Controller;
use fe2o3_amqp::types::definitions::{Error, ErrorCondition, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp::types::messaging::annotations::AnnotationKey;
use fe2o3_amqp::types::messaging::{
    AmqpValue, ApplicationProperties, Body, FilterSet, Message, MessageId, Outcome, Properties, Source,
};
use fe2o3_amqp::types::primitives::{OrderedMap, SimpleValue, Symbol, Value};
use fe2o3_amqp::types::transaction::Coordinator;
use fe2o3_amqp::{Connection, Delivery, Receiver, Sender, Session};
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const SELECTOR: &str = "apache.org:selector-filter:string";
pub(crate) const KEY: (&str, &str) = ("RootManageSharedAccessKey", "SAS_KEY_VALUE");
pub(crate) const SAS: &str = "servicebus.windows.net:sastoken";

/// Nothing here takes long; what hangs fails.
#[track_caller]
pub(crate) fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    eventhubs_test_harness::within(PATIENCE, future)
}

pub(crate) async fn start(builder: Builder) -> Emulator {
    builder.start().await.unwrap()
}

/// One hub `orders` with four partitions.
pub(crate) async fn orders() -> Emulator {
    start(Emulator::builder().event_hub("orders", 4).consumer_group("orders", "billing")).await
}

#[expect(clippy::disallowed_methods, reason = "a token expires by the wall clock")]
pub(crate) fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600
}

pub(crate) fn token(audience: &str, (name, key): (&str, &str), expiry: u64) -> String {
    let resource = utf8_percent_encode(audience, NON_ALPHANUMERIC);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{resource}\n{expiry}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={name}")
}

pub(crate) struct Client {
    pub(crate) connection: ConnectionHandle<()>,
    /// One per link: after a refused attach the library takes the handle of the next link on the session for its own.
    sessions: Vec<SessionHandle<()>>,
    links: u32,
    /// Kept open: the tokens go with it.
    cbs: Option<Node>,
}

/// What an attach of a consumer carries.
#[derive(Default, Clone)]
pub(crate) struct Reading {
    pub(crate) filter: Option<&'static str>,
    pub(crate) owner_level: Option<i64>,
    pub(crate) name: Option<&'static str>,
    pub(crate) numeric_descriptor: bool,
    pub(crate) runtime_metric: bool,
}

/// A request to a node, and where its response comes.
pub(crate) struct Node {
    sender: Sender,
    receiver: Receiver,
    next: u64,
}

pub(crate) struct Response {
    pub(crate) code: i32,
    pub(crate) description: String,
    pub(crate) correlation_id: Option<MessageId>,
    pub(crate) value: Value,
}

impl Client {
    /// Connects without any token.
    pub(crate) async fn anonymous(emulator: &Emulator) -> Self {
        Self::over(TcpStream::connect(emulator.address()).await.unwrap()).await
    }

    /// Connects without any token over a stream that is there.
    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin + 'static,
    {
        Self::introduced(stream, SaslProfile::Anonymous).await.unwrap()
    }

    /// Connects over a stream that is there, as the profile says who it is.
    pub(crate) async fn introduced<S>(stream: S, profile: SaslProfile) -> Result<Self, OpenError>
    where
        S: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin + 'static,
    {
        let builder = Connection::builder()
            .container_id("test")
            .hostname("localhost")
            .scheme("amqp")
            .properties([(Symbol::from("user-agent"), Value::from("tester/1.0"))].into_iter().collect())
            .sasl_profile(profile);
        let connection = within(builder.open_with_stream(stream)).await?;
        Ok(Self { connection, sessions: Vec::new(), links: 0, cbs: None })
    }

    async fn session(&mut self) -> &mut SessionHandle<()> {
        let session = within(Session::begin(&mut self.connection)).await.unwrap();
        self.sessions.push(session);
        self.sessions.last_mut().unwrap()
    }

    /// Connects with a token for everything.
    pub(crate) async fn connect(emulator: &Emulator) -> Self {
        let mut client = Self::anonymous(emulator).await;
        client.authorize().await;
        client
    }

    /// Puts a token for everything.
    pub(crate) async fn authorize(&mut self) {
        let mut cbs = self.node("$cbs").await;
        let response = cbs.put_token(SAS, "sb://host/", &token("sb://host/", KEY, in_an_hour())).await;
        assert_eq!((response.code, response.description.as_str()), (202, "Accepted"));
        self.cbs = Some(cbs);
    }

    /// Puts another token for everything over the same link.
    pub(crate) async fn reauthorize(&mut self) {
        let cbs = self.cbs.as_mut().unwrap();
        let token = token("sb://host/", KEY, in_an_hour());
        assert_eq!(cbs.put_token(SAS, "sb://host/", &token).await.code, 202);
    }

    pub(crate) async fn node(&mut self, address: &str) -> Node {
        let name = self.link_name();
        let session = self.session().await;
        let sender = within(Sender::attach(session, format!("{name}-s"), address)).await.unwrap();
        let receiver = within(Receiver::attach(session, format!("{name}-r"), address)).await.unwrap();
        Node { sender, receiver, next: 0 }
    }

    pub(crate) fn link_name(&mut self) -> String {
        self.links += 1;
        format!("link-{}", self.links)
    }

    pub(crate) async fn sender(&mut self, address: &str) -> Result<Sender, Refusal> {
        let name = self.link_name();
        let builder =
            Sender::builder().name(name).target(address).receiver_settle_mode(ReceiverSettleMode::Second);
        within(builder.attach(self.session().await)).await.map_err(|error| match error {
            SenderAttachError::RemoteClosedWithError(error) => error.into(),
            other => panic!("{other:?}"),
        })
    }

    /// Asks for a link to the coordinator of transactions, and returns why there is none.
    pub(crate) async fn begin_transactions(&mut self) -> Refusal {
        let name = self.link_name();
        let attaching = Controller::builder().name(name).coordinator(Coordinator::new(None));
        match within(attaching.attach(self.session().await)).await {
            Err(SenderAttachError::RemoteClosedWithError(error)) => error.into(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn receiver(&mut self, address: &str, reading: Reading) -> Result<Receiver, Refusal> {
        let mut source = Source::builder().address(address);
        if let Some(filter) = reading.filter {
            source = source.filter(selector(filter, reading.numeric_descriptor));
        }
        let mut properties = OrderedMap::new();
        if let Some(level) = reading.owner_level {
            properties.insert(Symbol::from("com.microsoft:epoch"), Value::Long(level));
        }
        if let Some(name) = reading.name {
            properties.insert(Symbol::from("com.microsoft:receiver-name"), Value::from(name));
        }
        let mut builder = Receiver::builder()
            .name(self.link_name())
            .source(source.build())
            .properties(properties)
            .sender_settle_mode(SenderSettleMode::Settled)
            .auto_accept(false);
        if reading.runtime_metric {
            builder = builder.add_desired_capabilities("com.microsoft:enable-receiver-runtime-metric");
        }
        within(builder.attach(self.session().await)).await.map_err(|error| match error {
            ReceiverAttachError::RemoteClosedWithError(error) => error.into(),
            other => panic!("{other:?}"),
        })
    }

    /// Attaches without giving any credit.
    pub(crate) async fn manual(&mut self, address: &str) -> Receiver {
        let builder = Receiver::builder()
            .name(self.link_name())
            .source(address)
            .credit_mode(CreditMode::Manual)
            .auto_accept(false);
        within(builder.attach(self.session().await)).await.unwrap()
    }

    /// Attaches to a partition of `orders` in `$Default`.
    pub(crate) async fn read(&mut self, partition: &str, reading: Reading) -> Result<Receiver, Refusal> {
        self.receiver(&format!("orders/ConsumerGroups/$Default/Partitions/{partition}"), reading).await
    }
}

fn selector(expression: &str, numeric_descriptor: bool) -> FilterSet {
    let descriptor = if numeric_descriptor {
        Descriptor::Code(0x0000_468C_0000_0004)
    } else {
        Descriptor::Name(Symbol::from(SELECTOR))
    };
    let filter = Described { descriptor, value: Value::from(expression) };
    let mut filters = FilterSet::new();
    filters.insert(Symbol::from(SELECTOR), Value::Described(Box::new(filter)));
    filters
}

/// Why the broker refused or ended something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) condition: String,
    pub(crate) description: String,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let condition = match error.condition {
            ErrorCondition::Custom(symbol) => symbol.into_inner(),
            known => match serde_amqp::to_value(&known).unwrap() {
                Value::Symbol(symbol) => symbol.into_inner(),
                other => panic!("{other:?}"),
            },
        };
        Self { condition, description: error.description.unwrap_or_default() }
    }
}

impl Node {
    pub(crate) async fn ask<const N: usize>(
        &mut self,
        properties: [(&str, &str); N],
        body: Body<Value>,
        message_id: Option<MessageId>,
    ) -> Response {
        self.next += 1;
        let id = message_id.unwrap_or(MessageId::Ulong(self.next));
        let mut request = Message::builder().body(body).build();
        request.properties = Some(Properties { message_id: Some(id), ..Properties::default() });
        let text = |value: &str| SimpleValue::String(value.to_owned());
        let properties = properties.into_iter().map(|(key, value)| (key.to_owned(), text(value)));
        request.application_properties = Some(ApplicationProperties(properties.collect()));
        let outcome = within(self.sender.send(request)).await.unwrap();
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        let delivery = within(self.receiver.recv::<Body<Value>>()).await.unwrap();
        within(self.receiver.accept(&delivery)).await.unwrap();
        Response::from(delivery.into_message())
    }

    pub(crate) async fn put_token(&mut self, kind: &str, audience: &str, token: &str) -> Response {
        let properties = [("operation", "put-token"), ("type", kind), ("name", audience)];
        self.ask(properties, Body::Value(AmqpValue(Value::from(token))), None).await
    }
}

impl From<Message<Body<Value>>> for Response {
    fn from(message: Message<Body<Value>>) -> Self {
        let properties = message.application_properties.unwrap().0;
        let Some(SimpleValue::Int(code)) = properties.get("status-code") else { panic!("{properties:?}") };
        let Some(SimpleValue::String(description)) = properties.get("status-description") else {
            panic!("{properties:?}")
        };
        Self {
            code: *code,
            description: description.clone(),
            correlation_id: message.properties.and_then(|properties| properties.correlation_id),
            value: message.body.try_into_value().unwrap_or_default(),
        }
    }
}

pub(crate) type AnyDelivery = Delivery<Body<Value>>;

pub(crate) async fn next(receiver: &mut Receiver) -> AnyDelivery {
    let delivery = within(receiver.recv::<Body<Value>>()).await.unwrap();
    // only counts credit: the delivery is settled
    within(receiver.accept(&delivery)).await.unwrap();
    delivery
}

/// The condition with which the broker ended the link.
pub(crate) async fn end_of(receiver: &mut Receiver) -> Refusal {
    use fe2o3_amqp::link::{LinkStateError, RecvError};
    match within(receiver.recv::<Body<Value>>()).await {
        Err(RecvError::LinkStateError(LinkStateError::RemoteClosedWithError(error))) => error.into(),
        other => panic!("the link did not end with an error: {other:?}"),
    }
}

pub(crate) fn annotation<'a>(delivery: &'a AnyDelivery, key: &str) -> Option<&'a Value> {
    delivery.message().message_annotations.as_ref()?.get(&key as &dyn AnnotationKey)
}

pub(crate) fn sequence_number(delivery: &AnyDelivery) -> i64 {
    match annotation(delivery, "x-opt-sequence-number") {
        Some(Value::Long(number)) => *number,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn text(delivery: &AnyDelivery) -> String {
    let sections = delivery.body().try_as_data().unwrap();
    sections.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

pub(crate) async fn send(sender: &mut Sender, message: Message<Body<Value>>) -> Result<Outcome, SendError> {
    within(sender.send(message)).await
}
