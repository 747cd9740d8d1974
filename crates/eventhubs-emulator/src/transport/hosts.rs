//! Which names lead to the emulator, so that no web page does: its scripts run on this machine too, and reach every port that
//! listens here.

/// The names by which HTTP requests may address the emulator: this machine, and those that were [allowed](Self::allow).
///
/// A browser says where a script comes from (`Origin`) and whom it believes to talk to (`Host`). Another origin is the page of
/// another site; another host is such a page after its name was bound to this machine (DNS rebinding).
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Allows one more name, without a port.
    pub fn allow(&mut self, name: impl Into<String>) {
        self.0.push(name.into());
    }

    /// Whether a request may carry this `Host` header.
    pub fn allows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let here = ["localhost", "127.0.0.1", "[::1]"].into_iter();
        here.chain(self.names()).any(|allowed| name.eq_ignore_ascii_case(allowed))
    }

    /// Whether an `Origin` header is that of this `Host`, whatever the scheme.
    pub fn is_same_origin(origin: &str, host: &str) -> bool {
        origin.split_once("://").is_some_and(|(_, place)| place.eq_ignore_ascii_case(host))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_allowed_and_others_only_by_name() {
        let mut hosts = AllowedHosts::default();
        for host in ["127.0.0.1:5672", "localhost", "LOCALHOST:1", "[::1]:5300", "[::1]"] {
            assert!(hosts.allows(host), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example:5672", "", "emulator:5672", "127.0.0.1.evil.example"]
        {
            assert!(!hosts.allows(host), "{host}");
        }
        hosts.allow("emulator");
        assert!(hosts.allows("Emulator:5672"));
    }

    #[test]
    fn an_origin_is_the_same_place_or_another_site() {
        for origin in ["http://localhost:5672", "https://LOCALHOST:5672", "ws://localhost:5672"] {
            assert!(AllowedHosts::is_same_origin(origin, "localhost:5672"), "{origin}");
        }
        for origin in ["http://localhost:8080", "http://localhost", "null", "", "http://evil.example"] {
            assert!(!AllowedHosts::is_same_origin(origin, "localhost:5672"), "{origin}");
        }
    }
}
