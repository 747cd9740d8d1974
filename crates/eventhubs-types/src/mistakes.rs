//! What both halves of the product tell apart in the same way: what is most likely a mistake, and no passing
//! trouble.

/// What somebody most likely did who has no connection string of any service here; `None` where it may be
/// one.
#[doc(hidden)]
pub fn no_connection_string(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.starts_with(['"', '\'']) {
        Some("is in quotes; they are not part of it")
    } else if text.starts_with(['$', '%']) {
        Some("looks like a variable of the environment that was not expanded")
    } else {
        None
    }
}

/// Whether an error says that there is no host of this name. The standard library keeps the resolver's code
/// to itself, so the texts of the C libraries decide; a name that may be known later ("Temporary failure …")
/// is a failure that passes.
#[doc(hidden)]
pub fn says_unknown_host(error: &str) -> bool {
    const TEXTS: &[&str] = &[
        "Name or service not known",                    // glibc
        "No address associated with hostname",          // glibc
        "Name does not resolve",                        // musl
        "nodename nor servname provided, or not known", // macOS
        "No such host is known",                        // Windows
    ];
    TEXTS.iter().any(|text| error.contains(text))
}
