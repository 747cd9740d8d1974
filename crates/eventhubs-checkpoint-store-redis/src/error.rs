//! What an error of Redis means to the caller of a store.

use std::borrow::Cow;
use std::fmt;

use eventhubs_checkpoint_store::{Error, ErrorKind};
use redis::RedisError;

/// Where a server begins to quote the arguments of a command that it does not know, the password of `AUTH` included.
const QUOTED: &str = "with args beginning with";

/// What a server says, with no code of its own, of a command that a script may not send for this user.
const NOT_ALLOWED: &str = "The user executing the script can't";

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
    let text = error.to_string();
    if text.contains(NOT_ALLOWED) {
        return ErrorKind::Unauthorized;
    }
    if let Some(code) = code(error) {
        return kind_of_code(&code);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn replied(reply: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn what_passes_by_itself_is_transient() {
        for reply in [
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script.",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "CLUSTERDOWN The cluster is down",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured to save RDB snapshots",
            "NOREPLICAS Not enough good replicas to write.",
            "ERR Error running script (call to f_0): @user_script:9: -READONLY You can't write",
        ] {
            let error = of("claim", &replied(reply));
            assert!(error.is_transient(), "{reply}: {error}");
        }
    }

    #[test]
    fn what_an_operator_has_to_change_is_not() {
        for (reply, kind) in [
            ("NOAUTH Authentication required.", ErrorKind::Unauthorized),
            ("WRONGPASS invalid username-password pair", ErrorKind::Unauthorized),
            ("NOPERM this user has no permissions", ErrorKind::Unauthorized),
            ("WRONGTYPE Operation against a key", ErrorKind::Protocol),
            ("ERR unknown command 'EVALSHA'", ErrorKind::Protocol),
            ("CROSSSLOT Keys in request don't hash to the same slot", ErrorKind::Protocol),
        ] {
            assert_eq!(of("claim", &replied(reply)).kind(), kind, "{reply}");
        }
    }

    #[test]
    fn arguments_that_a_server_quotes_are_in_no_text() {
        let reply = "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'app' 's3cr3t'";
        let error = of("connect", &replied(reply));
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
        assert!(error.to_string().ends_with("unknown command 'HELLO'"), "{error}");
    }
}
