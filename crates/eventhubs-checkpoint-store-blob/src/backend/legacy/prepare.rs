//! The first policy of the SDK's pipeline: what a request carries that the SDK would not give it in time.

use std::sync::Arc;

use azure_core::{Context, Policy, PolicyResult, Request};
use eventhubs_checkpoint_store::async_trait;
use reqwest::Url;
use secrecy::ExposeSecret;

use crate::access::Proof;
use crate::account::Secret;

/// Sets the version, and the signature or the token that the request's context holds. Keys are the SDK's
/// business: it signs what this policy leaves behind, the version included.
#[derive(Debug)]
pub(super) struct Prepare {
    /// The one of the SDK if `None`.
    pub(super) version: Option<String>,
}

#[async_trait]
impl Policy for Prepare {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if let Some(version) = &self.version {
            request.insert_header("x-ms-version", version.clone());
        }
        match context.get::<Proof>() {
            Some(Proof::Given(secret)) => add_signature(request, secret),
            Some(Proof::Token(token)) => {
                request.insert_header("authorization", format!("Bearer {}", token.expose()));
            }
            None => (),
        }
        match next.split_first() {
            Some((first, rest)) => first.send(context, request, rest).await,
            None => Err(azure_core::Error::message(azure_core::error::ErrorKind::Other, "no transport")),
        }
    }
}

fn add_signature(request: &mut Request, secret: &Secret) {
    let Secret::Sas(sas) = secret else { return };
    // Parsed as a query, so that the pairs are encoded once, however the signature came.
    let Ok(parsed) = Url::parse(&format!("https://unused.invalid/?{}", sas.expose_secret())) else { return };
    request.url_mut().query_pairs_mut().extend_pairs(parsed.query_pairs());
}
