//! The real `azure_identity` of both generations; only what Microsoft Entra ID would answer is made up.

use std::error::Error;
use std::iter::successors;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core_0_21::BytesStream;
use azure_core_1::http::headers::Headers;
use azure_core_1::http::{AsyncRawResponse, ClientOptions, Transport};
use azure_identity_0_21::ClientSecretCredential as ServicePrincipal021;
use azure_identity_1::{ClientSecretCredential as ServicePrincipal1, ClientSecretCredentialOptions};
use bytes::Bytes;
use eventhubs_amqp::ErrorKind;
use eventhubs_azure_core::{AzureCore1, AzureCore021};

use super::partitions;

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const APPLICATION: &str = "an-application";
const SECRET: &str = "its-secret";

const TOKEN: &str =
    r#"{"token_type": "Bearer", "expires_in": 3599, "access_token": "aGVhZGVy.Y2xhaW1z.c2lnbmF0dXJl"}"#;
const REFUSAL: &str =
    r#"{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}"#;

/// Gives the application a token for Event Hubs, if it knows its secret.
#[derive(Debug)]
struct EntraId;

impl EntraId {
    fn answer(path: &str, form: &[u8]) -> (u16, Bytes) {
        assert_eq!(path, format!("/{TENANT}/oauth2/v2.0/token"));
        let form = str::from_utf8(form).unwrap();
        let says = |field: &str| form.split('&').any(|pair| pair == field);
        assert!(says("grant_type=client_credentials"), "{form}");
        assert!(says("scope=https%3A%2F%2Feventhubs.azure.net%2F.default"), "{form}");
        assert!(says(&format!("client_id={APPLICATION}")), "{form}");
        let knows = says(&format!("client_secret={SECRET}"));
        if knows { (200, TOKEN.into()) } else { (401, REFUSAL.into()) }
    }
}

#[async_trait]
impl azure_core_0_21::HttpClient for EntraId {
    async fn execute_request(
        &self,
        request: &azure_core_0_21::Request,
    ) -> azure_core_0_21::Result<azure_core_0_21::Response> {
        let azure_core_0_21::Body::Bytes(form) = request.body() else { panic!("a form is no stream") };
        let (status, answer) = Self::answer(request.url().path(), form);
        let status = azure_core_0_21::StatusCode::try_from(status).unwrap();
        let headers = azure_core_0_21::headers::Headers::new();
        Ok(azure_core_0_21::Response::new(status, headers, Box::pin(BytesStream::from(answer))))
    }
}

#[async_trait]
impl azure_core_1::http::HttpClient for EntraId {
    async fn execute_request(
        &self,
        request: &azure_core_1::http::Request,
    ) -> azure_core_1::Result<AsyncRawResponse> {
        let form = Bytes::from(request.body());
        let (status, answer) = Self::answer(request.url().path(), &form);
        Ok(AsyncRawResponse::from_bytes(status.into(), Headers::new(), answer))
    }
}

fn of_0_21(secret: &str) -> AzureCore021 {
    let authority = azure_core_0_21::Url::parse("https://login.microsoftonline.com").unwrap();
    let [tenant, application, secret] = [TENANT, APPLICATION, secret].map(str::to_owned);
    let entra_id = Arc::new(EntraId);
    AzureCore021::new(Arc::new(ServicePrincipal021::new(entra_id, authority, tenant, application, secret)))
}

fn of_1(secret: &str) -> AzureCore1 {
    let transport = Some(Transport::new(Arc::new(EntraId)));
    let client_options = ClientOptions { transport, ..Default::default() };
    let options = ClientSecretCredentialOptions { client_options };
    let secret = secret.to_owned().into();
    AzureCore1::new(ServicePrincipal1::new(TENANT, APPLICATION.to_owned(), secret, Some(options)).unwrap())
}

#[tokio::test]
async fn a_service_principal_of_either_generation_connects() {
    assert_eq!(partitions(of_0_21(SECRET)).await.unwrap(), 3);
    assert_eq!(partitions(of_1(SECRET)).await.unwrap(), 3);
}

/// The older one does not pass on why.
#[tokio::test]
async fn a_secret_that_is_wrong_is_named_as_the_cause_and_not_shown() {
    for (refused, reason) in [
        (partitions(of_0_21("canary")).await, "Server returned error response"),
        (partitions(of_1("canary")).await, "AADSTS7000215"),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credential);
        let causes = successors(error.source(), |cause: &&dyn Error| (*cause).source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        assert!(causes.iter().any(|cause| cause.contains(reason)), "{causes:?}");
        assert!(!format!("{error} {error:?} {causes:?}").contains("canary"), "{error:?}");
    }
}
