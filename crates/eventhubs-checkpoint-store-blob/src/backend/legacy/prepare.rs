//! The first policy of the SDK's pipeline: what a request carries that the SDK would not give it in time.

use std::sync::Arc;

use azure_core::{Context, Policy, PolicyResult, Request};
use eventhubs_checkpoint_store::async_trait;

use crate::access::{Proof, append_signature};
use crate::account::Secret;

/// Sets the version, and the signature or the token that the request's context holds. Keys are the SDK's
/// business: it signs what this policy leaves behind, the version included.
#[derive(Debug)]
pub(super) struct Prepare {
    pub(super) version: String,
}

#[async_trait]
impl Policy for Prepare {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        request.insert_header("x-ms-version", self.version.clone());
        match context.get::<Proof>() {
            Some(Proof::Given(secret)) => {
                if let Secret::Sas(signature) = &**secret {
                    append_signature(request.url_mut(), signature);
                }
            }
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
