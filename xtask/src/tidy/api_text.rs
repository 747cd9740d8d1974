//! An item of a source as one line of text, with the spaces of rustfmt.

use quote::ToTokens;

/// The tokens without the spaces that their own printing puts around each of them.
pub(crate) fn text(item: &impl ToTokens) -> String {
    let words = item.to_token_stream().to_string();
    let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    // The order matters: the last ones put back spaces that the first ones take away too many.
    for (from, to) in [
        (" ::", "::"),
        (":: ", "::"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" ;", ";"),
        (" :", ":"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("[ ", "["),
        (" ]", "]"),
        (" [", "["),
        ("& ", "&"),
        ("# [", "#["),
        ("? ", "?"),
        ("* const", "*const"),
        ("->(", "-> ("),
        ("->[", "-> ["),
        (",(", ", ("),
        (",[", ", ["),
        (":(", ": ("),
        (":[", ": ["),
        ("=(", "= ("),
        (",)", ")"),
        (", >", ">"),
        (",>", ">"),
        // A matter of the body, not of the caller.
        ("(mut self", "(self"),
    ] {
        line = line.replace(from, to);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_look_as_they_are_written() {
        for signature in [
            "fn plain()",
            "fn generic<T: Into<String> + ?Sized, const N: usize>(&mut self, of: [T; N]) -> (u8, &'a str)",
            "fn bounded(f: impl for<'a> Fn(&'a u8, &[u8]) -> Option<Box<dyn Error + Send>>) where F: FnOnce()",
            "async fn path(self: Arc<Self>, id: std::num::NonZeroU8) -> Result<(), crate::Error>",
        ] {
            let parsed: syn::Signature = syn::parse_str(signature).expect("a signature");
            assert_eq!(text(&parsed), signature);
        }
    }
}
