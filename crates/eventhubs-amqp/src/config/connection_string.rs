//! Connection strings: parsing them, and errors that name the wrong part without repeating its value.
//!
//! Tests: below.

use std::fmt;
use std::str::FromStr;

use eventhubs_types::{EventHubName, Namespace, no_connection_string};

use crate::config::credential::Secret;
use crate::config::endpoint::{Address, Endpoint};
use crate::{Error, Result};

/// Where a namespace is and how to prove that we may read it.
///
/// The rules of the official SDKs: keys in any case, white space around keys and values ignored, empty parts
/// and unknown keys ignored; empty values, a key given twice and both a key and a signature are errors. An
/// error names the key, never a value. `Debug` and `Display` show the endpoint and the event hub only.
///
/// ```
/// let text = "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=Listen;SharedAccessKey=c2VjcmV0;EntityPath=orders";
/// let parsed: eventhubs_amqp::ConnectionString = text.parse()?;
/// assert_eq!(parsed.namespace().as_str(), "contoso.servicebus.windows.net");
/// assert_eq!(parsed.to_string(), "Endpoint=sb://contoso.servicebus.windows.net/;EntityPath=orders");
/// # Ok::<(), eventhubs_amqp::Error>(())
/// ```
#[derive(Clone)]
pub struct ConnectionString {
    pub(crate) endpoint: Endpoint,
    pub(crate) event_hub: Option<EventHubName>,
    pub(crate) secret: Secret,
}

impl ConnectionString {
    /// Reads a connection string as the Azure portal and the emulator print it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), naming the key that is missing or
    /// wrong.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(mistake) = mistake(text.trim()) {
            return Err(invalid(mistake));
        }
        let parts = Parts::split(text)?;
        let emulator = parts.emulator()?;
        let address = Address::parse(required(parts.endpoint, "Endpoint")?);
        let endpoint = Endpoint { address: address.map_err(|e| wrong("Endpoint", e))?, tls: !emulator };
        let event_hub =
            parts.entity_path.map(EventHubName::new).transpose().map_err(|e| wrong("EntityPath", e))?;
        Ok(Self { endpoint, event_hub, secret: parts.secret()? })
    }

    /// The host name of the namespace, without a port.
    pub fn namespace(&self) -> &Namespace {
        self.endpoint.host()
    }

    /// The event hub, if the connection string has an `EntityPath`.
    pub fn event_hub(&self) -> Option<&EventHubName> {
        self.event_hub.as_ref()
    }
}

/// What somebody most likely did who has no connection string of an event hub here.
fn mistake(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let other = if ["http://", "https://", "sb://"].iter().any(|scheme| lower.starts_with(scheme)) {
        Some("is a URL; copy the connection string of a shared access policy, which begins with Endpoint=")
    } else if lower.contains("accountname=") || lower.contains("blobendpoint=") {
        Some("is one of a storage account; that of an event hub begins with Endpoint=")
    } else {
        None
    };
    no_connection_string(text).or(other)
}

/// The values by key, before they are understood.
#[derive(Default)]
struct Parts<'a> {
    endpoint: Option<&'a str>,
    entity_path: Option<&'a str>,
    key_name: Option<&'a str>,
    key: Option<&'a str>,
    signature: Option<&'a str>,
    emulator: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self> {
        let mut parts = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| invalid("a part has no '='"))?;
            parts.set(key.trim(), value.trim())?;
        }
        Ok(parts)
    }

    fn set(&mut self, key: &str, value: &'a str) -> Result<()> {
        let (name, slot) = match key.to_ascii_lowercase().as_str() {
            "endpoint" => ("Endpoint", &mut self.endpoint),
            "entitypath" => ("EntityPath", &mut self.entity_path),
            "sharedaccesskeyname" => ("SharedAccessKeyName", &mut self.key_name),
            "sharedaccesskey" => ("SharedAccessKey", &mut self.key),
            "sharedaccesssignature" => ("SharedAccessSignature", &mut self.signature),
            "usedevelopmentemulator" => ("UseDevelopmentEmulator", &mut self.emulator),
            _ => return Ok(()),
        };
        if value.is_empty() {
            return Err(wrong(name, "is empty"));
        }
        if slot.replace(value).is_some() {
            return Err(wrong(name, "is given twice"));
        }
        Ok(())
    }

    fn emulator(&self) -> Result<bool> {
        match self.emulator {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(wrong("UseDevelopmentEmulator", "is neither true nor false")),
        }
    }

    fn secret(&self) -> Result<Secret> {
        match (self.key_name, self.key, self.signature) {
            (_, Some(_), Some(_)) => Err(invalid("give SharedAccessKey or SharedAccessSignature, not both")),
            (None, Some(_), None) => Err(wrong("SharedAccessKeyName", "is missing next to SharedAccessKey")),
            (Some(_), None, None) => Err(wrong("SharedAccessKey", "is missing next to SharedAccessKeyName")),
            (None, None, None) => Err(invalid("SharedAccessKey or SharedAccessSignature is missing")),
            (Some(name), Some(key), None) => Ok(Secret::key(name, key)),
            (_, None, Some(signature)) => Ok(Secret::signature(signature)),
        }
    }
}

fn invalid(reason: impl fmt::Display) -> Error {
    Error::invalid(format!("connection string: {reason}"))
}

fn wrong(key: &str, reason: impl fmt::Display) -> Error {
    invalid(format_args!("{key}: {reason}"))
}

fn required<'a>(value: Option<&'a str>, key: &str) -> Result<&'a str> {
    value.ok_or_else(|| wrong(key, "is missing"))
}

impl FromStr for ConnectionString {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint=sb://{}/", self.endpoint.address)?;
        match &self.event_hub {
            Some(hub) => write!(f, ";EntityPath={hub}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionString({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG=";

    /// Writes the common parts of the vectors out.
    fn parse(text: &str) -> Result<ConnectionString> {
        let text = text
            .replace("{NS}", "Endpoint=sb://ns.servicebus.windows.net/")
            .replace("{KEY}", "SharedAccessKeyName=Root;SharedAccessKey={K}")
            .replace(
                "{SAS}",
                "SharedAccessSignature=SharedAccessSignature sr=sb%3A%2F%2Fns&sig=a%3D&se=1&skn=Root",
            )
            .replace("{K}", K);
        ConnectionString::parse(&text)
    }

    /// docs/contract.md §13.1: the rows that are good by our rules, with what they render as.
    #[test]
    fn good_strings_are_read() {
        let plain = "ns.servicebus.windows.net/";
        let hub1 = "ns.servicebus.windows.net/;EntityPath=hub1";
        let blanks =
            "  Endpoint = sb://ns.servicebus.windows.net/ ; SharedAccessKeyName = R ; SharedAccessKey = {K} ";
        let lower = "endpoint=sb://ns.servicebus.windows.net/;sharedaccesskeyname=R;sharedaccesskey={K};entitypath=hub1";
        let upper = "Endpoint=sb://NS.servicebus.windows.net;{KEY};EntityPath=Hub1;";
        for (row, text, shown) in [
            ("CS01", "{NS};{KEY}", plain),
            ("CS02", "{NS};{KEY};EntityPath=hub1", hub1),
            ("CS03", upper, "NS.servicebus.windows.net/;EntityPath=Hub1"),
            ("CS04", lower, hub1),
            ("CS05", blanks, plain),
            ("CS06", "Endpoint=ns.servicebus.windows.net;{KEY}", plain),
            (
                "CS07",
                "Endpoint=https://ns.servicebus.windows.net:443/;{KEY}",
                "ns.servicebus.windows.net:443/",
            ),
            ("CS12", "{NS};{SAS};EntityPath=hub1", hub1),
            ("CS23", "{NS};{KEY};Foo=bar", plain),
            ("CS24", "{NS};;{KEY};;", plain),
            // no cloud's suffix is special (docs/contract.md §1.5)
            (
                "China",
                "Endpoint=sb://ns.servicebus.chinacloudapi.cn/;{KEY}",
                "ns.servicebus.chinacloudapi.cn/",
            ),
            (
                "US",
                "Endpoint=sb://ns.servicebus.usgovcloudapi.net/;{KEY}",
                "ns.servicebus.usgovcloudapi.net/",
            ),
        ] {
            let parsed = parse(text).unwrap_or_else(|e| panic!("{row}: {e}"));
            assert_eq!(parsed.to_string(), format!("Endpoint=sb://{shown}"), "{row}");
            assert!(parsed.endpoint.tls, "{row}");
        }
        assert_eq!(parse("{NS};{KEY}").unwrap().endpoint.port(), 5671);
    }

    /// docs/contract.md §1.2, §13.1.
    #[test]
    fn an_emulator_is_dialled_without_tls() {
        for (row, text, host, port) in [
            ("CS08", "Endpoint=sb://localhost;{KEY};UseDevelopmentEmulator=true;", "localhost", 5672),
            ("CS09", "Endpoint=sb://localhost:6065;{KEY};UseDevelopmentEmulator=true", "localhost", 6065),
            ("CS10", "Endpoint=sb://localhost:6065;{KEY};UseDevelopmentEmulator=True", "localhost", 6065),
            ("CS11", "Endpoint=sb://[::1]:6065;{KEY};UseDevelopmentEmulator=true", "::1", 6065),
        ] {
            let ConnectionString { endpoint, .. } = parse(text).unwrap();
            assert_eq!(
                (endpoint.host().as_str(), endpoint.port(), endpoint.tls),
                (host, port, false),
                "{row}"
            );
        }
        assert!(parse("{NS};{KEY};UseDevelopmentEmulator=false").unwrap().endpoint.tls);
    }

    /// docs/contract.md §13.1: the rows that are bad by our rules; the text names the key and holds no value.
    #[test]
    fn bad_strings_are_refused_by_the_name_of_the_key() {
        for (row, text, named) in [
            ("CS13", "{NS};{KEY};{SAS}", "SharedAccessKey or SharedAccessSignature, not both"),
            ("CS14", "{NS}", "SharedAccessKey or SharedAccessSignature is missing"),
            ("CS15", "{KEY}", "Endpoint: is missing"),
            ("CS16", "Endpoint=;{KEY}", "Endpoint: is empty"),
            ("CS17", "Endpoint=sb://;{KEY}", "Endpoint: namespace is empty"),
            ("CS18", "{NS};SharedAccessKeyName=Root", "SharedAccessKey: is missing"),
            ("CS19", "{NS};SharedAccessKey={K}", "SharedAccessKeyName: is missing"),
            ("CS20", "{NS};SharedAccessKeyName=;SharedAccessKey={K}", "SharedAccessKeyName: is empty"),
            ("CS21", "{NS};SharedAccessKeyName=Root;SharedAccessKey=", "SharedAccessKey: is empty"),
            ("CS22", "{NS};{KEY};garbage", "a part has no '='"),
            ("CS25", "{NS};Endpoint=sb://b.example/;{KEY}", "Endpoint: is given twice"),
            ("CS26", "", "connection string: is empty"),
            ("CS27", "   ", "connection string: is empty"),
            ("CS28", "garbage", "a part has no '='"),
            ("CS29", "HostName=ns.servicebus.windows.net;{KEY}", "Endpoint: is missing"),
            ("CS30", "{NS};{KEY};EntityPath=", "EntityPath: is empty"),
            ("path", "Endpoint=sb://ns.example/x;{KEY}", "Endpoint: is not a host"),
            ("port", "Endpoint=sb://ns.example:x;{KEY}", "Endpoint: has a bad port"),
            ("scheme", "Endpoint=amqp://ns.example;{KEY}", "Endpoint: has a scheme"),
            ("hub", "{NS};{KEY};EntityPath=a/b", "EntityPath: event hub contains a slash"),
            ("emulator", "{NS};{KEY};UseDevelopmentEmulator=1", "UseDevelopmentEmulator: is"),
        ] {
            let error = parse(text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument, "{row}");
            assert!(shown.contains(named), "{row}: {shown}");
            assert!(
                !["abcdefgh", "Root", "ns.", "sig="].iter().any(|value| shown.contains(value)),
                "{row}: {shown}"
            );
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let parsed = parse("{NS};{KEY}").unwrap();
        assert!(!format!("{parsed} {parsed:?} {:?}", parsed.secret).contains("abcdefgh"));
    }
}
