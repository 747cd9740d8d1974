//! Signs a request with the key of the account, which the official SDK does not do: Shared Key, as the storage API
//! has it since 2015-02-21.

use std::time::SystemTime;

use azure_core_1::credentials::Secret;
use azure_core_1::hmac::hmac_sha256;
use eventhubs_checkpoint_store::ErrorKind;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Request, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::backend::answer::Failure;

/// The headers that are signed by their place.
const STANDARD: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Dates the request, and returns the `authorization` that opens it.
///
/// # Errors
/// When the key is no base64.
pub(super) fn sign(
    request: &mut Request,
    account: &str,
    key: &SecretString,
    now: SystemTime,
) -> Result<String, Failure> {
    let unsigned = || Failure::new(ErrorKind::Unauthorized, "the request could not be signed");
    let date = HeaderValue::from_str(&httpdate::fmt_http_date(now)).map_err(|_| unsigned())?;
    request.headers_mut().insert("x-ms-date", date);
    let text = string_to_sign(request.method().as_str(), request.url(), request.headers(), account);
    let key = Secret::new(key.expose_secret().to_owned());
    let signature = hmac_sha256(&text, &key).map_err(|_| unsigned())?;
    Ok(format!("SharedKey {account}:{signature}"))
}

fn string_to_sign(method: &str, url: &Url, headers: &HeaderMap, account: &str) -> String {
    let mut lines = vec![method.to_owned()];
    lines.extend(STANDARD.map(|name| match (name, value(headers, name)) {
        ("content-length", "0") => String::new(),
        (_, value) => value.to_owned(),
    }));
    let mut names: Vec<_> = headers.keys().map(AsRef::<str>::as_ref).collect();
    names.retain(|name| name.starts_with("x-ms-"));
    names.sort_unstable();
    lines.extend(names.into_iter().map(|name| format!("{name}:{}", value(headers, name))));
    lines.push(format!("/{account}{}", url.path()));
    let mut query: Vec<_> = url.query_pairs().map(|(name, value)| (name.to_lowercase(), value)).collect();
    query.sort_unstable();
    lines.extend(query.into_iter().map(|(name, value)| format!("{name}:{value}")));
    lines.join("\n")
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;

    fn request<const N: usize>(method: Method, url: &str, headers: [(&'static str, &str); N]) -> Request {
        let mut request = Request::new(method, url.parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    fn text(request: &Request) -> String {
        string_to_sign(request.method().as_str(), request.url(), request.headers(), "myaccount")
    }

    /// The example of the documentation, "Authorize with Shared Key".
    #[test]
    fn a_request_is_signed_as_the_documentation_shows_it() {
        let listing = request(
            Method::GET,
            "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20",
            [("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"), ("x-ms-version", "2015-02-21")],
        );
        let expected = "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
                        /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20";
        assert_eq!(text(&listing), expected);
    }

    #[test]
    fn each_signed_header_has_its_place_and_an_empty_value_its_colon() {
        let renewal = request(
            Method::PUT,
            "http://127.0.0.1:10000/myaccount/c/a%20b/$default/0?comp=metadata",
            [
                ("x-ms-version", "2022-11-02"),
                ("x-ms-meta-ownerid", ""),
                ("content-length", "0"),
                ("content-type", "text/plain"),
                ("if-match", "\"0x1\""),
                ("if-none-match", "*"),
                ("user-agent", "unsigned"),
            ],
        );
        let expected = "PUT\n\n\n\n\ntext/plain\n\n\n\"0x1\"\n*\n\n\nx-ms-meta-ownerid:\nx-ms-version:2022-11-02\n\
                        /myaccount/myaccount/c/a%20b/$default/0\ncomp:metadata";
        assert_eq!(text(&renewal), expected);
    }

    #[test]
    fn a_query_is_signed_decoded_and_in_order() {
        let listing = request(Method::GET, "https://h/c?restype=container&Prefix=a%2Fb%24&comp=list", []);
        assert!(text(&listing).ends_with("\n/myaccount/c\ncomp:list\nprefix:a/b$\nrestype:container"));
    }

    #[test]
    fn a_request_is_dated_and_signed() {
        let (mut signed, now) = (request(Method::GET, "https://h/c", []), SystemTime::UNIX_EPOCH);
        let authorization = sign(&mut signed, "myaccount", &"a2V5".into(), now).unwrap();
        assert_eq!(signed.headers()["x-ms-date"], "Thu, 01 Jan 1970 00:00:00 GMT");
        // openssl dgst -sha256 -hmac key
        assert_eq!(authorization, "SharedKey myaccount:One3U4zzj+K2lPsLr+8z6b9Ds8MJnXLM18AuyzdrT7s=");
        let failure = sign(&mut signed, "myaccount", &"*".into(), now).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unauthorized);
    }
}
