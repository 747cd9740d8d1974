//! The version of the storage API that requests ask for.

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};

/// What is sent unless another is chosen; the SDK sets it.
pub(crate) const DEFAULT: &str = "2022-11-02";

/// From this version on, a request without a body is signed as the SDK signs it.
const OLDEST: &str = "2015-02-21";

/// The first version that takes tokens.
const FIRST_WITH_TOKENS: &str = "2017-11-09";

/// Checks a version: a day, and not before those that this store can be used with.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] with the reason.
pub(crate) fn check(version: &str, has_tokens: bool) -> Result<()> {
    // The days sort as text once their form is known.
    let oldest = if has_tokens { FIRST_WITH_TOKENS } else { OLDEST };
    let reason = if !is_day(version) {
        "api_version: is not a day as in `2019-07-07`".to_owned()
    } else if version < oldest {
        let with = if has_tokens { " with tokens" } else { "" };
        format!("api_version: the storage API of {version} cannot be used{with}, only {oldest} or later")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidArgument, reason))
}

fn is_day(version: &str) -> bool {
    let is_digit_or_hyphen = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    version.len() == 10 && version.bytes().enumerate().all(is_digit_or_hyphen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_azure_and_of_azure_stack_hub_are_taken() {
        for version in [DEFAULT, "2017-11-09", "2019-07-07", "2026-04-06"] {
            check(version, true).unwrap();
            check(version, false).unwrap();
        }
        check(OLDEST, false).unwrap();
    }

    #[test]
    fn what_is_no_version_or_too_old_is_refused() {
        for bad in ["", "latest", "2019-7-7", "2019-07-07 ", "2019-07-07\r\nx", "2014-02-14"] {
            assert_eq!(check(bad, false).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
        let error = check("2016-05-31", true).unwrap_err().to_string();
        assert!(
            error.contains("2016-05-31") && error.contains("tokens") && error.contains("2017-11-09"),
            "{error}"
        );
    }
}
