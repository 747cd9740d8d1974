//! Keeps web pages of others away: their scripts run on this machine too, and reach its loopback device.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eventhubs_emulator::AllowedHosts;
use serde_json::json;

const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Refuses what a page of somebody else asks for, and tells browsers how little ours may do.
pub(super) async fn guard(State(hosts): State<Arc<AllowedHosts>>, request: Request, next: Next) -> Response {
    let mut response = match check(request.method(), request.headers(), &hosts) {
        Ok(()) => next.run(request).await,
        Err(why) => (StatusCode::FORBIDDEN, Json(json!({ "error": why }))).into_response(),
    };
    // Also on refusals, whose body a browser shows as well.
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

/// A name that is not this machine's leads here by DNS rebinding; a foreign origin by a form or a script of its page.
fn check(method: &Method, headers: &HeaderMap, hosts: &AllowedHosts) -> Result<(), &'static str> {
    let host = text(headers, &HOST).ok_or("the Host header is missing")?;
    if !hosts.allows(host) {
        return Err("the Host header names neither this machine nor a host of --allow-host");
    }
    // Reading is safe once the Host is checked: a page of another site cannot read the answer.
    if method.is_safe() {
        return Ok(());
    }
    match text(headers, &ORIGIN) {
        Some(origin) if !AllowedHosts::is_same_origin(origin, host) => {
            Err("the Origin header is another one")
        }
        _ => match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => Err("the request comes from the page of another site"),
        },
    }
}

/// An empty text for one that is no text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: &Method, headers: &[(&'static str, &'static str)]) -> Result<(), &'static str> {
        let entry = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        check(method, &headers.iter().map(entry).collect(), &AllowedHosts::default())
    }

    #[test]
    fn programs_and_the_own_page_may() {
        for headers in [
            [("host", "127.0.0.1:5300")].as_slice(),
            &[
                ("host", "localhost:5300"),
                ("origin", "http://localhost:5300"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("host", "[::1]:5300")],
            &[("host", "LOCALHOST")],
        ] {
            assert_eq!(checked(&Method::POST, headers), Ok(()), "{headers:?}");
        }
    }

    #[test]
    fn other_names_and_other_pages_may_not() {
        for headers in [
            [].as_slice(),
            &[("host", "evil.example:5300")],
            &[("host", "localhost.evil.example")],
            &[("host", "localhost:5300"), ("origin", "http://evil.example")],
            &[("host", "localhost:5300"), ("origin", "http://localhost:8080")],
            &[("host", "localhost:5300"), ("origin", "null")],
            &[("host", "localhost:5300"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost:5300"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(checked(&Method::POST, headers).is_err(), "{headers:?}");
        }
        assert!(checked(&Method::GET, &[("host", "evil.example:5300")]).is_err());
    }

    #[test]
    fn links_from_other_pages_may_be_followed() {
        let followed = [("host", "localhost:5300"), ("sec-fetch-site", "cross-site")];
        assert_eq!(checked(&Method::GET, &followed), Ok(()));
    }
}
