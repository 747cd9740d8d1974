//! How our errors print their causes.

use std::error::Error;
use std::fmt;

/// Writes `text` and the reasons that the chain of `source` adds to it, each once, as in "the event hub could
/// not be looked up: connecting to contoso.example:5671: connection refused".
///
/// What a user prints first is `{error}`, and the log line: the innermost reason must be there. A reason that
/// an outer level has said already is left out, since errors of other crates print their sources too.
#[doc(hidden)]
pub fn write_with_causes(
    f: &mut fmt::Formatter<'_>,
    text: &str,
    source: Option<&(dyn Error + 'static)>,
) -> fmt::Result {
    let mut written = text.to_owned();
    let mut next = source;
    while let Some(error) = next {
        let reason = error.to_string();
        if !reason.is_empty() && !written.contains(&reason) {
            written.push_str(": ");
            written.push_str(&reason);
        }
        next = error.source();
    }
    f.write_str(&written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Level(&'static str, Option<Box<Level>>);

    impl fmt::Display for Level {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_with_causes(f, self.0, self.source())
        }
    }

    impl Error for Level {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    #[test]
    fn each_reason_is_written_once_however_many_levels_print_it() {
        let inner = Level("connection refused", None);
        let middle = Level("connecting to contoso:5671", Some(Box::new(inner)));
        let outer = Level("the hub could not be looked up", Some(Box::new(middle)));
        assert_eq!(
            outer.to_string(),
            "the hub could not be looked up: connecting to contoso:5671: connection refused"
        );
    }
}
