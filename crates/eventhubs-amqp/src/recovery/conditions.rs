//! What to do after each AMQP error condition: a pure table.
//!
//! Tests: below, row by row.

use crate::recovery::kind::ErrorKind;

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Recovery {
    /// Wait, then do the same again.
    Retry,
    /// Wait, then attach a new link on the same connection.
    Reattach,
    /// Wait, then open a new connection.
    Reconnect,
    /// Put a fresh token once, then attach again.
    Reauthorize,
    /// Nothing helps: give up.
    Final,
    /// Another receiver has the partition: attaching again would steal it back.
    Stolen,
}

/// What an error condition of the service means and what to do about it (docs/contract.md §5.4).
///
/// The text decides only where the service uses one condition for two things.
#[expect(clippy::match_same_arms, reason = "a row for each condition, as in the contract")]
pub(crate) fn classify(condition: &str, description: &str) -> (ErrorKind, Recovery) {
    let says = |text: &str| description.to_ascii_lowercase().contains(text);
    match condition {
        "amqp:link:stolen" => (ErrorKind::OwnershipLost, Recovery::Stolen),
        "com.microsoft:server-busy" => (ErrorKind::Busy, Recovery::Retry),
        "com.microsoft:timeout" => (ErrorKind::Timeout, Recovery::Retry),
        "com.microsoft:operation-cancelled" | "amqp:internal-error" => {
            (ErrorKind::Transport, Recovery::Retry)
        }
        "amqp:connection:forced" | "amqp:connection:framing-error" | "proton:io" => {
            (ErrorKind::Transport, Recovery::Reconnect)
        }
        "amqp:unauthorized-access" | "com.microsoft:auth-failed" => {
            (ErrorKind::Unauthorized, Recovery::Reauthorize)
        }
        "amqp:not-found"
            if says("could not be found") || says("does not exist") || description.is_empty() =>
        {
            (ErrorKind::NotFound, Recovery::Final)
        }
        "com.microsoft:entity-disabled" => (ErrorKind::EntityDisabled, Recovery::Final),
        "amqp:resource-limit-exceeded" => (ErrorKind::QuotaExceeded, Recovery::Final),
        "com.microsoft:argument-out-of-range" => (ErrorKind::InvalidArgument, Recovery::Final),
        "com.microsoft:georeplication:invalid-offset" => (ErrorKind::InvalidPosition, Recovery::Final),
        "com.microsoft:argument-error" if says("offset") || says("sequence number") || says("filter") => {
            (ErrorKind::InvalidPosition, Recovery::Final)
        }
        "com.microsoft:argument-error" => (ErrorKind::InvalidArgument, Recovery::Final),
        "amqp:not-allowed" | "amqp:not-implemented" => (ErrorKind::Protocol, Recovery::Final),
        // Among them amqp:link:detach-forced, amqp:transfer-limit-exceeded, and a not-found that names no
        // entity.
        _ => (ErrorKind::Transport, Recovery::Reattach),
    }
}

/// What the status of a `$cbs` or `$management` answer means (docs/contract.md §3.3, §4.3).
pub(crate) fn classify_status(status: i64) -> (ErrorKind, Recovery) {
    match status {
        400 | 501 => (ErrorKind::InvalidArgument, Recovery::Final),
        401 => (ErrorKind::Unauthorized, Recovery::Reauthorize),
        403 => (ErrorKind::QuotaExceeded, Recovery::Final),
        404 => (ErrorKind::NotFound, Recovery::Final),
        408 | 504 => (ErrorKind::Timeout, Recovery::Retry),
        429 | 503 => (ErrorKind::Busy, Recovery::Retry),
        410 | 500 | 502 => (ErrorKind::Transport, Recovery::Retry),
        _ => (ErrorKind::Protocol, Recovery::Final),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/contract.md §5.4, row by row.
    #[test]
    fn every_condition_has_its_recovery() {
        use ErrorKind as K;
        use Recovery as R;
        let entity = "The messaging entity 'sb://ns/hub' could not be found. TrackingId:1";
        let offset = "The supplied offset '77' is invalid. The last offset in the system is '12'";
        let number =
            "The supplied sequence number '9' is invalid. The last sequence number in the system is '4'";
        let filter = "The filter 'x' is not a valid amqp filter for EventHub entities";
        for (condition, description, kind, recovery) in [
            ("amqp:link:stolen", "", K::OwnershipLost, R::Stolen),
            ("amqp:link:detach-forced", "", K::Transport, R::Reattach),
            ("amqp:connection:forced", "", K::Transport, R::Reconnect),
            ("amqp:connection:framing-error", "", K::Transport, R::Reconnect),
            ("proton:io", "", K::Transport, R::Reconnect),
            ("com.microsoft:server-busy", "", K::Busy, R::Retry),
            ("com.microsoft:timeout", "", K::Timeout, R::Retry),
            ("com.microsoft:operation-cancelled", "", K::Transport, R::Retry),
            ("amqp:internal-error", "", K::Transport, R::Retry),
            ("com.microsoft:entity-disabled", "", K::EntityDisabled, R::Final),
            ("amqp:not-found", entity, K::NotFound, R::Final),
            ("amqp:not-found", "The link endpoint is gone", K::Transport, R::Reattach),
            ("com.microsoft:argument-out-of-range", "", K::InvalidArgument, R::Final),
            ("com.microsoft:argument-error", offset, K::InvalidPosition, R::Final),
            ("com.microsoft:argument-error", number, K::InvalidPosition, R::Final),
            ("com.microsoft:argument-error", filter, K::InvalidPosition, R::Final),
            ("com.microsoft:argument-error", "something else", K::InvalidArgument, R::Final),
            ("com.microsoft:georeplication:invalid-offset", "", K::InvalidPosition, R::Final),
            ("amqp:unauthorized-access", "", K::Unauthorized, R::Reauthorize),
            ("com.microsoft:auth-failed", "", K::Unauthorized, R::Reauthorize),
            ("amqp:resource-limit-exceeded", "", K::QuotaExceeded, R::Final),
            ("amqp:not-allowed", "", K::Protocol, R::Final),
            ("amqp:not-implemented", "", K::Protocol, R::Final),
            ("amqp:transfer-limit-exceeded", "", K::Transport, R::Reattach),
            ("vendor:never-seen", "", K::Transport, R::Reattach),
        ] {
            assert_eq!(classify(condition, description), (kind, recovery), "{condition} {description}");
        }
    }

    /// docs/contract.md §3.3 and §4.3.
    #[test]
    fn every_status_has_its_recovery() {
        for status in [408, 410, 429, 500, 502, 503, 504] {
            assert_eq!(classify_status(status).1, Recovery::Retry, "{status}");
        }
        for status in [0, 300, 400, 403, 404, 501] {
            assert_eq!(classify_status(status).1, Recovery::Final, "{status}");
        }
        assert_eq!(classify_status(401), (ErrorKind::Unauthorized, Recovery::Reauthorize));
    }
}
