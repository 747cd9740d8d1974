//! The trace in which an event was sent, as the SDKs of Azure and W3C Trace Context write it.

use std::collections::BTreeMap;

use eventhubs_types::Value;

/// The properties that hold the context, in the order in which they are looked at.
const TRACEPARENT: [&str; 2] = ["traceparent", "Diagnostic-Id"];

/// The length of version 00, and of the known part of later versions.
const LENGTH: usize = 55;

/// The longest text that is taken over: 512 characters, what W3C asks for at least.
const MAX_TRACESTATE: usize = 512;

/// The trace and the span in which an event was sent, by [W3C Trace Context](https://www.w3.org/TR/trace-context/).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    traceparent: String,
    tracestate: Option<String>,
}

impl TraceContext {
    /// The context in these application properties; `None` where there is none, or one that cannot be used.
    pub(crate) fn find(properties: &BTreeMap<String, Value>) -> Option<Self> {
        let text = |name| properties.get(name).and_then(text);
        let traceparent = TRACEPARENT.into_iter().filter_map(text).find_map(valid)?;
        let tracestate =
            text("tracestate").filter(|state| !state.is_empty() && state.len() <= MAX_TRACESTATE);
        Some(Self { traceparent: traceparent.to_owned(), tracestate: tracestate.map(str::to_owned) })
    }

    /// Returns the first 55 characters of `traceparent`: version, trace, span and flags.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Returns what systems of tracing have added.
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// Returns the id of the trace: 32 hexadecimal digits, not all of them zero.
    pub fn trace_id(&self) -> &str {
        &self.traceparent[3..35]
    }

    /// Returns the id of the span: 16 hexadecimal digits, not all of them zero.
    pub fn span_id(&self) -> &str {
        &self.traceparent[36..52]
    }

    /// Returns the flags, of which the lowest bit says that the trace is sampled.
    pub fn flags(&self) -> u8 {
        u8::from_str_radix(&self.traceparent[53..55], 16).unwrap_or(0)
    }
}

/// Some senders write text as bytes.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        value => value.as_str(),
    }
}

/// The part that is understood, if it is well-formed. A later version may have more after it.
fn valid(text: &str) -> Option<&str> {
    let known = text.get(..LENGTH)?;
    let fields: [&str; 4] = known.split('-').collect::<Vec<_>>().try_into().ok()?;
    let is_hex = |field: &str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_set = |field: &str| field.bytes().any(|byte| byte != b'0');
    let [version, trace, span, _] = fields;
    let is_well_formed = fields.map(str::len) == [2, 32, 16, 2] && fields.iter().all(|field| is_hex(field));
    let is_known = match &text[LENGTH..] {
        "" => true,
        more => version != "00" && more.starts_with('-'),
    };
    (is_well_formed && is_known && version != "ff" && is_set(trace) && is_set(span)).then_some(known)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OTHER: &str = "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-00";

    fn properties(values: &[(&str, Value)]) -> BTreeMap<String, Value> {
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn found(values: &[(&str, Value)]) -> Option<String> {
        TraceContext::find(&properties(values)).map(|context| context.traceparent)
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn the_context_is_found_in_either_property_as_text_or_bytes() {
        let bytes = Value::Binary(Bytes::from_static(OTHER.as_bytes()));
        for (values, expected) in [
            (vec![], None),
            (vec![("traceparent", string(VALID))], Some(VALID)),
            (vec![("Diagnostic-Id", string(VALID))], Some(VALID)),
            (vec![("traceparent", string(VALID)), ("Diagnostic-Id", string(OTHER))], Some(VALID)),
            (vec![("traceparent", string("broken")), ("Diagnostic-Id", string(OTHER))], Some(OTHER)),
            (vec![("traceparent", bytes)], Some(OTHER)),
            (vec![("traceparent", Value::Binary(Bytes::from_static(b"\xff")))], None),
            (vec![("traceparent", Value::U32(7))], None),
        ] {
            assert_eq!(found(&values).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_malformed_is_no_context() {
        let with = |at: usize, character: char| {
            let mut text: Vec<char> = VALID.chars().collect();
            text[at] = character;
            text.into_iter().collect::<String>()
        };
        for at in 0..LENGTH {
            let is_dash = matches!(at, 2 | 35 | 52);
            let broken = with(at, if is_dash { '0' } else { 'g' });
            assert_eq!(valid(&broken), None, "{broken}");
            assert_eq!(valid(&VALID[..at]), None);
            assert_eq!(valid(&with(at, 'A')), None, "upper case");
        }
        for text in [
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
        ] {
            assert_eq!(valid(text), None, "{text}");
        }
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert_eq!(valid(later), Some(&later[..LENGTH]));
    }

    #[test]
    fn the_parts_of_a_context_are_read() {
        let state = ("tracestate", string("vendor=1"));
        let context = TraceContext::find(&properties(&[("traceparent", string(VALID)), state])).unwrap();
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((context.span_id(), context.flags()), ("b7ad6b7169203331", 1));
        assert_eq!(context.tracestate(), Some("vendor=1"));
        let long = ("tracestate", string(&"x".repeat(MAX_TRACESTATE + 1)));
        let context = TraceContext::find(&properties(&[("traceparent", string(VALID)), long])).unwrap();
        assert_eq!(context.tracestate, None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_context_or_none(text in "\\PC{0,70}") {
            if let Some(context) = TraceContext::find(&properties(&[("traceparent", string(&text))])) {
                prop_assert!(text.starts_with(&context.traceparent));
                prop_assert_eq!(context.trace_id().len() + context.span_id().len(), 48);
            }
        }
    }
}
