//! Requests and responses of the nodes `$cbs` and `$management`.

use std::borrow::Cow;

use fe2o3_amqp_types::messaging::{AmqpValue, ApplicationProperties, Body, Message, Properties};
use fe2o3_amqp_types::primitives::{OrderedMap, SimpleValue, Symbol, Value};

use crate::condition::{Condition, NOT_FOUND, SERVER_BUSY, UNAUTHORIZED};
use crate::event::message::AnyMessage;

/// The answer to a request, before it is addressed.
#[derive(Debug)]
pub(crate) struct Response {
    code: i32,
    description: String,
    condition: Option<Cow<'static, str>>,
    body: Value,
}

impl Response {
    pub(crate) fn status(code: i32, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), condition: None, body: Value::Null }
    }

    pub(crate) fn value(body: Value) -> Self {
        Self { body, ..Self::status(200, "OK") }
    }

    /// For what is not served; with the status that the service has for the condition (docs/contract.md
    /// §4.3).
    pub(crate) fn refusal(reason: Condition) -> Self {
        let code = match reason.symbol.as_ref() {
            UNAUTHORIZED => 401,
            NOT_FOUND => 404,
            SERVER_BUSY => 503,
            _ => 500,
        };
        Self::status(code, reason.description).condition(reason.symbol)
    }

    pub(crate) fn condition(mut self, condition: impl Into<Cow<'static, str>>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    pub(crate) fn code(&self) -> i32 {
        self.code
    }

    /// The message: its correlation id is the message id of the request, of the same AMQP type
    /// (docs/contract.md §3.3).
    pub(crate) fn to(self, request: &AnyMessage) -> AnyMessage {
        let mut properties = Properties::new();
        if let Some(asked) = &request.properties {
            properties.correlation_id.clone_from(&asked.message_id);
            properties.to.clone_from(&asked.reply_to);
        }
        let mut application = OrderedMap::new();
        application.insert("status-code".to_owned(), SimpleValue::Int(self.code));
        application.insert("status-description".to_owned(), SimpleValue::String(self.description));
        if let Some(condition) = self.condition {
            application.insert(
                "error-condition".to_owned(),
                SimpleValue::Symbol(Symbol::from(condition.into_owned())),
            );
        }
        Message {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: Some(properties),
            application_properties: Some(ApplicationProperties(application)),
            body: Body::Value(AmqpValue(self.body)),
            footer: None,
        }
    }
}

pub(crate) fn string_property<'a>(request: &'a AnyMessage, name: &str) -> Option<&'a str> {
    match property(request, name)? {
        SimpleValue::String(text) => Some(text),
        SimpleValue::Symbol(text) => Some(text.as_str()),
        _ => None,
    }
}

/// In milliseconds since 1970.
pub(crate) fn timestamp_property(request: &AnyMessage, name: &str) -> Option<i64> {
    match property(request, name)? {
        SimpleValue::Timestamp(time) => Some(time.milliseconds()),
        _ => None,
    }
}

fn property<'a>(request: &'a AnyMessage, name: &str) -> Option<&'a SimpleValue> {
    request.application_properties.as_ref()?.0.get(name)
}
