//! The end of the SDK's pipeline: its signed request becomes one of our HTTP client.

use std::sync::Arc;

use azure_core::headers::{HeaderName, HeaderValue, Headers};
use azure_core::{Body, BytesStream, Context, Policy, PolicyResult, Request, Response, StatusCode};
use eventhubs_checkpoint_store::{ErrorKind, async_trait};

use crate::backend::answer::{Answer, Exchange, Failure};
use crate::backend::http::{self, Http, Slot};

/// Goes no further into the SDK than its request and answer types.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) http: Http,
}

impl Transport {
    async fn perform(&self, request: &Request) -> Exchange {
        let Body::Bytes(body) = request.body().clone() else {
            return Err(Failure::new(ErrorKind::InvalidArgument, "the request could not be built"));
        };
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = http::request(request.method().as_ref(), request.url(), headers, body)?;
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
        let answer = self.perform(request).await;
        let response = answer.as_ref().map(for_sdk);
        let response = response.map_err(|_| {
            azure_core::Error::message(azure_core::error::ErrorKind::Io, "the slot has the reason")
        });
        if let Some(slot) = context.get::<Slot>() {
            slot.put(answer);
        }
        response
    }
}

/// The answer without its body: the SDK's XML parser has open advisories, so it gets nothing to read.
fn for_sdk(answer: &Answer) -> Response {
    let mut headers = Headers::new();
    for (name, value) in &answer.headers {
        if let Ok(value) = value.to_str() {
            headers.insert(HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value.to_owned()));
        }
    }
    let status = StatusCode::try_from(answer.status).unwrap_or(StatusCode::InternalServerError);
    Response::new(status, headers, Box::pin(BytesStream::new_empty()))
}
