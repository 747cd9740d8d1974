//! Claims-based security: tokens that open entities to one connection (docs/contract.md §3).

use fe2o3_amqp_types::messaging::{AmqpValue, Body};
use fe2o3_amqp_types::primitives::Value;
use tokio::sync::watch;

use crate::auth::grants::Grants;
use crate::auth::sas;
use crate::condition::NOT_FOUND;
use crate::event::message::AnyMessage;
use crate::serve::broker::Broker;
use crate::serve::response::{Response, string_property, timestamp_property};

/// Answers a `put-token` request (docs/contract.md §3.2, §3.3).
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
            // Through the watch channel: a link that waits for the expiry of the previous token learns of
            // this one.
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
