//! Claims-based security: tokens that open entities to one connection (contract §3).

use fe2o3_amqp_types::messaging::{AmqpValue, Body};
use fe2o3_amqp_types::primitives::Value;
use tokio::sync::watch;

use crate::address;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::condition::NOT_FOUND;
use crate::message::AnyMessage;
use crate::request::{Response, string_property, timestamp_property};
use crate::sas;

/// How many audiences one connection can hold tokens for; the oldest grant goes first.
const MAX_GRANTS: usize = 1024;

/// What the tokens of one connection open.
#[derive(Debug, Default)]
pub(crate) struct Grants(Vec<Grant>);

#[derive(Debug)]
struct Grant {
    audience: String,
    /// In milliseconds since 1970; `None` for a token that does not say.
    expires_ms: Option<i64>,
}

impl Grants {
    /// Opens an audience, or renews it.
    fn put(&mut self, audience: &str, expires_ms: Option<i64>) {
        self.0.retain(|grant| grant.audience != audience);
        if self.0.len() == MAX_GRANTS {
            self.0.remove(0);
        }
        self.0.push(Grant { audience: audience.into(), expires_ms });
    }

    /// Opens the whole namespace for good.
    pub(crate) fn put_for_all(&mut self) {
        self.put("", None);
    }

    /// Lets all tokens expire now.
    pub(crate) fn expire(&mut self) {
        for grant in &mut self.0 {
            grant.expires_ms = Some(i64::MIN);
        }
    }

    /// Whether an unexpired token opens this entity.
    pub(crate) fn open(&self, entity: &str, now_ms: i64) -> bool {
        self.open_until(entity) > now_ms
    }

    fn open_until(&self, entity: &str) -> i64 {
        let covering = self.0.iter().filter(|grant| sas::covers(&grant.audience, entity));
        let expiries = covering.map(|grant| grant.expires_ms.unwrap_or(i64::MAX));
        expiries.max().unwrap_or(i64::MIN)
    }

    /// Whether an unexpired token opens the properties of this hub. One for the node below a consumer group will do: it
    /// is what Microsoft's Rust SDK puts.
    pub(crate) fn open_management(&self, hub: &str, now_ms: i64) -> bool {
        let node = format!("{hub}/$management");
        let mut valid = self.0.iter().filter(|grant| grant.is_valid(now_ms));
        valid.any(|grant| {
            let audience = address::path(&grant.audience);
            sas::covers(audience, &node) || (audience.ends_with("/$management") && sas::covers(hub, audience))
        })
    }
}

impl Grant {
    fn is_valid(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expiry| expiry > now_ms)
    }
}

/// Returns as soon as no token opens this entity any more.
pub(crate) async fn expired(grants: &watch::Sender<Grants>, clock: &Clock, entity: &str) {
    let mut renewed = grants.subscribe();
    loop {
        let until = renewed.borrow_and_update().open_until(entity);
        tokio::select! {
            biased;
            // the sender is borrowed, so this is another token
            _ = renewed.changed() => {}
            () = clock.reaches(until) => return,
        }
    }
}

/// Answers a `put-token` request (contract §3.2, §3.3).
pub(crate) fn put_token(
    broker: &Broker,
    grants: &watch::Sender<Grants>,
    request: &AnyMessage,
    now_ms: i64,
) -> Response {
    if string_property(request, "operation") != Some("put-token") {
        return Response::status(400, "The operation is not put-token.");
    }
    let (Some(audience), Body::Value(AmqpValue(Value::String(token)))) =
        (string_property(request, "name"), &request.body)
    else {
        return Response::status(400, "The request has no name, or its body is no string.");
    };
    if let Err(missing) = broker.hub_of_audience(audience) {
        return Response::status(404, missing.description).condition(NOT_FOUND);
    }
    let expires_ms = match string_property(request, "type") {
        Some("servicebus.windows.net:sastoken") => {
            sas::verify(token, audience, &broker.keys, now_ms).map(Some)
        }
        // there is no issuer to ask
        Some("jwt") if !broker.takes_jwt => {
            Err("InvalidIssuer: The token has no issuer that is known; a shared access key has to sign it.")
        }
        Some("jwt") if !has_form_of_jwt(token) => Err("The token is no JSON web token."),
        Some("jwt") => Ok(timestamp_property(request, "expiration")),
        _ => return Response::status(400, "The token type is not known."),
    };
    match expires_ms {
        Ok(expires_ms) => {
            grants.send_modify(|grants| grants.put(audience, expires_ms));
            Response::status(202, "Accepted")
        }
        Err(refusal) => Response::status(401, refusal),
    }
}

/// Whether these are three parts in the alphabet of base64 for URLs.
pub(crate) fn has_form_of_jwt(token: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    token.split('.').count() == 3 && token.split('.').all(is_part)
}
