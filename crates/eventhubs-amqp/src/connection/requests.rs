//! Requests and answers over a pair of links: what `$cbs` and `$management` have in common.
//!
//! Tests: below.

use std::sync::Arc;

use eventhubs_types::Value;
use fe2o3_amqp::link::{RecvError, SendError};
use fe2o3_amqp::{Receiver, Sender};
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message, MessageId, Outcome, Properties, Source, Target,
};
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value as Amqp;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::connection::engine::Engine;
use crate::connection::library_error::{Failure, LinkFailure};
use crate::connection::library_value::from_amqp;
use crate::connection::session::Session;
use crate::recovery::conditions::classify_status;
use crate::{Error, ErrorKind, Result};

/// Requests that may wait for the ones before them.
const MAX_WAITING: usize = 64;

/// A request; a token in it is moved to the wire and nowhere else.
pub(crate) struct Request {
    pub(crate) properties: Vec<(&'static str, SimpleValue)>,
    pub(crate) body: Amqp,
}

struct Job {
    request: Request,
    reply: oneshot::Sender<Result<Value>>,
}

/// Sends requests to one node, one after the other, from a task of its own: a caller that gives up disturbs
/// nobody.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    jobs: mpsc::Sender<Job>,
}

impl Requests {
    /// Attaches the pair of links.
    pub(crate) async fn open(engine: &Arc<Engine>, node: &'static str) -> Result<Self> {
        let pair = Pair::attach(Arc::clone(engine), node).await?;
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(serve(pair, waiting));
        Ok(Self { jobs })
    }

    /// Whether the links may still be there.
    pub(crate) fn is_live(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Returns when the links are gone.
    pub(crate) async fn closed(&self) {
        self.jobs.closed().await;
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// When the answer is a refusal, or there is none.
    pub(crate) async fn call(&self, request: Request) -> Result<Value> {
        let (reply, answer) = oneshot::channel();
        let _ = self.jobs.send(Job { request, reply }).await;
        answer.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Transport, "the request links are gone")))
    }
}

/// Serves until the last caller is gone or the links break.
async fn serve(mut pair: Pair, mut waiting: mpsc::Receiver<Job>) {
    // One after the other: the service answers `$cbs` in order, and a caller that is gone costs one answer at
    // most.
    while let Some(Job { request, reply }) = waiting.recv().await {
        match pair.call(request).await {
            Ok(answer) => _ = reply.send(answer),
            Err(error) => {
                debug!(node = pair.node, %error, "request links broke");
                let _ = reply.send(Err(error));
                break;
            }
        }
    }
    // A job that came while the channel closes would keep its caller waiting: only the callers hold the
    // channel then.
    waiting.close();
    while waiting.recv().await.is_some() {}
    pair.session.end().await;
}

/// The links: requests go out on one, answers come in on the other.
struct Pair {
    node: &'static str,
    engine: Arc<Engine>,
    sender: Sender,
    receiver: Receiver,
    session: Session,
    last_id: u64,
}

impl Pair {
    async fn attach(engine: Arc<Engine>, node: &'static str) -> Result<Self> {
        let mut session = engine.begin().await?;
        let what = format!("attaching to {node}");
        let receiver = Receiver::builder()
            .name(format!("{node}-answers"))
            .source(Source::builder().address(node).build())
            .target(Target::builder().address(answers(node)).build())
            // Only here: it may lose what is received when it is dropped, and then these links are dropped
            // too.
            .auto_accept(true)
            .attach(session.handle());
        let receiver = engine.bounded(&what, receiver).await?;
        let sender = Sender::builder()
            .name(format!("{node}-requests"))
            .source(Source::builder().address(answers(node)).build())
            .target(Target::builder().address(node).build())
            .attach(session.handle());
        let sender = engine.bounded(&what, sender).await?;
        Ok(Self { node, engine, sender, receiver, session, last_id: 0 })
    }

    /// The outer error breaks the links, the inner one only this request.
    async fn call(&mut self, request: Request) -> Result<Result<Value>> {
        self.last_id += 1;
        let id = MessageId::Ulong(self.last_id);
        let message = request.message(id.clone(), self.node);
        let (sender, receiver) = (&mut self.sender, &mut self.receiver);
        let exchange = async {
            match sender.send(message).await.map_err(Broken::Send)? {
                Outcome::Accepted(_) => {}
                refused => return Err(Broken::Refused(refused)),
            }
            loop {
                let answer = receiver.recv::<Body<Amqp>>().await.map_err(Broken::Receive)?.into_message();
                // An answer to a request that nobody waits for any more is passed over.
                if answer.properties.as_ref().and_then(|p| p.correlation_id.as_ref()) == Some(&id) {
                    return Ok(answer);
                }
            }
        };
        let answer = self.engine.bounded(&format!("a request to {}", self.node), exchange).await?;
        Ok(outcome(answer, self.node))
    }
}

enum Broken {
    Send(SendError),
    Receive(RecvError),
    Refused(Outcome),
}

impl Failure for Broken {
    fn failure(self, context: &str) -> LinkFailure {
        match self {
            Self::Send(error) => error.failure(context),
            Self::Receive(error) => error.failure(context),
            Self::Refused(outcome) => {
                let error =
                    Error::new(ErrorKind::Protocol, format!("{context} was not accepted: {outcome:?}"));
                LinkFailure::Known(error)
            }
        }
    }
}

impl Request {
    fn message(self, id: MessageId, node: &str) -> Message<AmqpValue<Amqp>> {
        let properties =
            Properties::builder().message_id(id).to(node.to_owned()).reply_to(answers(node)).build();
        let application = self.properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Message::builder()
            .properties(properties)
            .application_properties(ApplicationProperties(application))
            .value(self.body)
            .build()
    }
}

/// The address at our end, where answers go.
fn answers(node: &str) -> String {
    format!("{node}-answers")
}

/// The body of an answer that says 200 to 299; the error of any other (docs/contract.md §3.3).
fn outcome(answer: Message<Body<Amqp>>, node: &str) -> Result<Value> {
    let properties = answer.application_properties.map(|section| section.0).unwrap_or_default();
    let property = |names: [&str; 2]| {
        names.iter().find_map(|name| properties.get(*name)).map(|v| from_amqp(v.clone().into()))
    };
    let status = property(["status-code", "statusCode"]).and_then(|status| status.as_i64());
    let Some(status) = status else {
        return Err(Error::new(ErrorKind::Protocol, format!("{node} answered without a status")));
    };
    if (200..300).contains(&status) {
        return Ok(match answer.body {
            Body::Value(body) => from_amqp(body.0),
            _ => Value::Null,
        });
    }
    let description = property(["status-description", "statusDescription"]);
    let condition = property(["error-condition", "errorCondition"]);
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let (kind, recovery) = classify_status(status);
    Err(Error::new(kind, format!("{node} answered {status}"))
        .with_remote(text(&condition).as_deref(), text(&description).as_deref())
        .with_recovery(recovery))
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, Instant, sleep};

    use super::*;
    use crate::testing::peer::{LIMIT, Peer};

    /// docs/amqp-crate.md §4, issue #200 there: a send waits forever when its connection ends.
    #[tokio::test(start_paused = true)]
    async fn a_request_ends_with_its_connection() {
        let (peer, connection) = Peer::connect().await;
        peer.go_silent();
        let engine = Arc::clone(connection.engine());
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            engine.kill();
        });
        let start = Instant::now();
        let error = connection.authorize("a", false).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::Transport, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_answered_ends_the_connection() {
        let (peer, connection) = Peer::connect().await;
        peer.go_silent();
        let start = Instant::now();
        let error = connection.authorize("a", false).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed()), (ErrorKind::Timeout, LIMIT));
        assert!(!connection.engine().is_live());
    }

    fn answer(properties: &[(&str, SimpleValue)], body: Body<Amqp>) -> Message<Body<Amqp>> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Message::builder().application_properties(ApplicationProperties(properties)).body(body).build()
    }

    fn status(code: i32) -> Result<Value> {
        outcome(answer(&[("status-code", SimpleValue::Int(code))], Body::Empty), "$cbs")
    }

    /// docs/contract.md §13.9.
    #[test]
    fn two_hundred_to_two_hundred_and_ninety_nine_is_success() {
        for code in [200, 202, 299] {
            assert_eq!(status(code).unwrap(), Value::Null);
        }
        for code in [199, 300, 401, 403, 404, 500] {
            assert!(status(code).is_err(), "{code}");
        }
        let value = Body::Value(AmqpValue(Amqp::Int(5)));
        let answer = answer(&[("statusCode", SimpleValue::Ulong(200))], value);
        assert_eq!(outcome(answer, "$cbs").unwrap(), Value::I32(5));
    }

    #[test]
    fn a_refusal_says_what_the_service_said() {
        let refusal = answer(
            &[
                ("status-code", SimpleValue::Int(401)),
                ("status-description", SimpleValue::String("InvalidSignature. TrackingId:42".into())),
                ("error-condition", SimpleValue::Symbol("com.microsoft:auth-failed".into())),
            ],
            Body::Empty,
        );
        let error = outcome(refusal, "$cbs").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(error.condition(), Some("com.microsoft:auth-failed"));
        assert_eq!(error.tracking_id(), Some("42"));
    }

    #[test]
    fn an_answer_without_a_status_breaks_the_protocol() {
        let error = outcome(answer(&[], Body::Empty), "$management").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains("$management answered without a status"));
    }
}
