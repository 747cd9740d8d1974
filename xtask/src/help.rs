//! Help and mistakes that can be told at once, of programs that take minutes to build.

use crate::shell::Result;

/// Whether help was asked for.
pub(crate) fn is_wanted(arguments: &[&str]) -> bool {
    arguments.iter().any(|argument| matches!(*argument, "-h" | "--help"))
}

/// Refuses an option that the help text does not have, before anything is built for it.
///
/// # Errors
/// Names the option.
pub(crate) fn check_options(help: &str, arguments: &[&str]) -> Result<()> {
    let options = arguments.iter().filter(|argument| argument.starts_with("--"));
    let mut names = options.map(|option| option.split_once('=').map_or(*option, |(name, _)| name));
    let is_known =
        |name: &str| help.split(|c: char| c != '-' && !c.is_alphanumeric()).any(|word| word == name);
    match names.find(|name| !is_known(name)) {
        Some(unknown) => Err(format!("unknown option {unknown}\n\n{}", help.trim_end()).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_the_help_does_not_have_is_refused() {
        let help = "  --only <NAMES>  some\n  -j, --json  lines\n";
        for known in ["--only", "--only=a,b", "--json"] {
            assert!(check_options(help, &["receive", known, "x"]).is_ok(), "{known}");
        }
        for unknown in ["--onl", "--only-this", "--jsonx=1"] {
            let error = check_options(help, &["receive", unknown]).unwrap_err().to_string();
            assert!(error.starts_with("unknown option --"), "{error}");
        }
    }
}
