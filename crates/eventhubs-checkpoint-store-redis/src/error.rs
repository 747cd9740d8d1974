//! What an error of Redis means to the caller of a store.

use std::borrow::Cow;
use std::fmt;

use eventhubs_checkpoint_store::{Error, ErrorKind};
use redis::RedisError;

/// Where a server begins to quote the arguments of a command that it does not know, the password of `AUTH` included.
const QUOTED: &str = "with args beginning with";

/// The error with its kind; `context` says what was tried.
pub(crate) fn of(context: impl Into<Cow<'static, str>>, source: &RedisError) -> Error {
    let text = source.to_string();
    let text =
        text.split_once(QUOTED).map_or(text.as_str(), |(before, _)| before.trim_end_matches([',', ' ']));
    Error::new(kind(source), context).with_source(Cause(text.to_owned()))
}

/// An answer that no version of the scripts gives.
pub(crate) fn answer(context: impl Into<Cow<'static, str>>, reason: &'static str) -> Error {
    Error::new(ErrorKind::Protocol, context).with_source(Cause(reason.to_owned()))
}

/// Whether the server is one that only reads, as a master is after a fail-over that made it a replica.
pub(crate) fn is_read_only(error: &RedisError) -> bool {
    code(error).is_some_and(|code| code == "READONLY")
}

/// The text of an error, without what must not be in a log.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

fn kind(error: &RedisError) -> ErrorKind {
    if let Some(code) = code(error) {
        return kind_of_code(&code);
    }
    let text = error.to_string();
    match error.kind() {
        _ if error.is_timeout() => ErrorKind::Timeout,
        // rustls says so, whatever the version of the driver that passes it on.
        redis::ErrorKind::Io if text.contains("invalid peer certificate") => ErrorKind::UntrustedCertificate,
        redis::ErrorKind::Io if text.contains("failed to lookup address") => ErrorKind::NotFound,
        redis::ErrorKind::Io | redis::ErrorKind::ClusterConnectionNotFound => ErrorKind::Unavailable,
        redis::ErrorKind::AuthenticationFailed => ErrorKind::Unauthorized,
        redis::ErrorKind::InvalidClientConfig => ErrorKind::InvalidArgument,
        _ if error.is_connection_dropped() || error.is_connection_refusal() => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

/// What a word in front of an error of the server means.
fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => ErrorKind::Unauthorized,
        // A script of somebody else runs for too long.
        "BUSY" => ErrorKind::Throttled,
        // They pass by themselves, or with memory, disk or replicas that an operator adds.
        "LOADING" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "OOM" | "MISCONF"
        | "NOREPLICAS" | "NOSCRIPT" | "UNBLOCKED" | "MOVED" | "ASK" => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

/// The word in front of an error of the server. Redis 6 puts the error that ended a script into the text of
/// another one.
fn code(error: &RedisError) -> Option<Cow<'_, str>> {
    let code = error.code()?;
    // What the driver makes of the reply to AUTH has no code of its own.
    if code != "ERR" {
        return Some(Cow::Borrowed(code));
    }
    let inner = error.detail()?.split_whitespace().find_map(|word| word.strip_prefix('-'))?;
    Some(Cow::Owned(inner.to_owned()))
}
