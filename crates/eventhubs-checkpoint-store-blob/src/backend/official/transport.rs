//! The end of the SDK's pipeline: its request becomes one of our HTTP client, and gets what opens it.

use std::sync::Arc;
use std::time::SystemTime;

use azure_core_1::error::{Error, ErrorKind};
use azure_core_1::http::headers::Headers;
use azure_core_1::http::policies::{Policy, PolicyResult};
use azure_core_1::http::{AsyncRawResponse, Body, Context, Request, StatusCode};
use eventhubs_checkpoint_store::{ErrorKind as Kind, async_trait};
use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::shared_key;
use crate::access::{Proof, append_signature};
use crate::account::Secret;
use crate::backend::answer::{Answer, Exchange, Failure};
use crate::backend::http::{self, Http, Slot};

/// Goes no further into the SDK than its request and answer types.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) http: Http,
    /// For which keys sign.
    pub(super) account: String,
}

impl Transport {
    async fn perform(&self, request: &Request, proof: Option<&Proof>) -> Exchange {
        let mut request = convert(request)?;
        match proof {
            Some(Proof::Given(secret)) => match &**secret {
                Secret::Key(key) => {
                    let value = shared_key::sign(&mut request, &self.account, key, wall_clock())?;
                    authorize(&mut request, &value)?;
                }
                Secret::Sas(signature) => append_signature(request.url_mut(), signature),
            },
            Some(Proof::Token(token)) => authorize(&mut request, &format!("Bearer {}", token.expose()))?,
            None => (),
        }
        self.http.send(request).await
    }
}

#[async_trait]
impl Policy for Transport {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        _next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        let answer = self.perform(request, context.value()).await;
        let response = answer.as_ref().map(for_sdk);
        // The SDK logs it.
        let response = response.map_err(|failure| Error::with_message(ErrorKind::Io, failure.reason.clone()));
        if let Some(slot) = context.value::<Slot>() {
            slot.put(answer);
        }
        response
    }
}

fn convert(request: &Request) -> Result<reqwest::Request, Failure> {
    let Body::Bytes(body) = request.body().clone() else { return Err(unusable()) };
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    http::request(request.method().as_str(), request.url(), headers, body)
}

/// Sets what opens the request; no log of the HTTP library shows it.
fn authorize(request: &mut reqwest::Request, value: &str) -> Result<(), Failure> {
    let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

/// The answer without its body, for an SDK that has nothing to say about it.
fn for_sdk(answer: &Answer) -> AsyncRawResponse {
    let mut headers = Headers::new();
    for (name, value) in &answer.headers {
        if let Ok(value) = value.to_str() {
            headers.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    AsyncRawResponse::from_bytes(StatusCode::from(answer.status), headers, Vec::new())
}

fn unusable() -> Failure {
    Failure::new(Kind::InvalidArgument, "the request could not be built")
}

#[expect(clippy::disallowed_methods, reason = "a signature is good for the minutes around its date")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
