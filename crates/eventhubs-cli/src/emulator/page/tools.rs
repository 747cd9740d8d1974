//! The forms next to the live part: publish an event, follow events, inject faults, change an event hub.

use eventhubs_emulator::Emulator;
use maud::{Markup, html};

use super::super::config::Namespace;

/// A fault as the form offers it.
struct Offer {
    /// Its name over HTTP.
    name: &'static str,
    label: &'static str,
    /// Its fields other than `event_hub`, each with its initial value in the form.
    fields: &'static [(&'static str, &'static str)],
    hits_one_hub: bool,
    /// What ends it, where it does not end by itself.
    stop: Stop,
}

enum Stop {
    /// It happens once, or ends after what it hits.
    ByItself,
    /// Another fault ends it.
    By(&'static str),
    /// The same with zero ends it.
    WithZero,
}

const CONDITION: (&str, &str) = ("condition", "amqp:internal-error");
const DESCRIPTION: (&str, &str) = ("description", "asked for on the page");

const OFFERS: &[Offer] = &[
    of_hub("pause_deliveries", "Consumers get nothing", &[], Stop::By("resume_deliveries")),
    of_hub("delay_deliveries", "Events go out late", &[("milliseconds", "1000")], Stop::WithZero),
    of_hub("starve_producers", "Producers get no credit", &[], Stop::By("feed_producers")),
    of_all("slow_connections", "Connections are slow", &[("bytes_per_second", "10000")], Stop::WithZero),
    of_all("delay_requests", "$cbs and $management answer late", &[("milliseconds", "1000")], Stop::WithZero),
    of_hub("throttle_for", "Server busy", &[("milliseconds", "5000")], Stop::ByItself),
    of_hub("detach_links", "Detach links", &[CONDITION, DESCRIPTION], Stop::ByItself),
    of_hub("end_sessions", "End sessions", &[CONDITION, DESCRIPTION], Stop::ByItself),
    of_all("close_connections", "Close connections", &[CONDITION, DESCRIPTION], Stop::ByItself),
    of_all("drop_connections", "Drop connections without a word", &[], Stop::ByItself),
    of_all("freeze_connections", "Freeze connections", &[], Stop::ByItself),
    of_all("corrupt_frames", "Corrupt frames", &[("count", "1")], Stop::ByItself),
    of_all("expire_tokens", "Expire tokens", &[], Stop::ByItself),
    of_hub("refuse_attaches", "Refuse links", &[("count", "3"), CONDITION, DESCRIPTION], Stop::ByItself),
    of_hub("refuse_sends", "Refuse messages", &[("count", "3"), CONDITION, DESCRIPTION], Stop::ByItself),
    of_hub("fail_over", "Fail over to the geo-replica", &[], Stop::ByItself),
    of_all("advance_clock", "Move the clock ahead", &[("seconds", "60")], Stop::ByItself),
];

const fn of_hub(
    name: &'static str,
    label: &'static str,
    fields: &'static [(&'static str, &'static str)],
    stop: Stop,
) -> Offer {
    Offer { name, label, fields, hits_one_hub: true, stop }
}

const fn of_all(
    name: &'static str,
    label: &'static str,
    fields: &'static [(&'static str, &'static str)],
    stop: Stop,
) -> Offer {
    Offer { name, label, fields, hits_one_hub: false, stop }
}

pub(super) fn tools(namespaces: &[(Namespace, Emulator)]) -> Markup {
    html! {
        (live_tail(namespaces))
        (faults(namespaces))
        (publish_form(namespaces))
        (hub_form(namespaces))
    }
}

/// A choice of all hubs; the script finds namespace and hub in the option.
fn hub_choice(namespaces: &[(Namespace, Emulator)], id: &str) -> Markup {
    html! {
        select id=(id) {
            @for (namespace, emulator) in namespaces {
                @for hub in emulator.event_hubs() {
                    option data-namespace=(namespace.name) data-hub=(hub.name) {
                        @if namespaces.len() > 1 { (namespace.name) " / " }
                        (hub.name)
                    }
                }
            }
        }
    }
}

fn publish_form(namespaces: &[(Namespace, Emulator)]) -> Markup {
    html! {
        form #publish {
            h2 { "Publish a test event" }
            label.wide { "Event hub " (hub_choice(namespaces, "publish-hub")) }
            label { "Partition " input #publish-partition inputmode="numeric" placeholder="any"; }
            label { "Partition key " input #publish-key placeholder="none"; }
            label.wide { "Body " textarea #publish-body rows="3" { "{\"hello\": \"world\"}" } }
            button { "Publish" }
            output #publish-result {}
        }
    }
}

fn live_tail(namespaces: &[(Namespace, Emulator)]) -> Markup {
    html! {
        section #tail {
            h2 { "Live tail" }
            p.line {
                label { "Event hub " (hub_choice(namespaces, "tail-hub")) }
                button #tail-toggle type="button" { "Start" }
            }
            div.scroll {
                table {
                    thead { tr {
                        th { "Partition" } th.number { "Number" } th.detail { "Enqueued" } th { "Key" } th { "Body" }
                    } }
                    tbody #tail-events {}
                }
            }
            p #tail-empty { "Nothing yet." }
        }
    }
}

fn faults(namespaces: &[(Namespace, Emulator)]) -> Markup {
    html! {
        form #faults {
            h2 { "Faults" }
            label.wide { "Event hub " (hub_choice(namespaces, "fault-hub")) }
            label.wide {
                "What goes wrong "
                select #fault {
                    @for offer in OFFERS { (option(offer)) }
                }
            }
            div #fault-fields .wide {}
            div.wide.line {
                button #fault-start { "Start" }
                button #fault-stop type="button" { "Stop" }
                output #fault-result {}
            }
        }
    }
}

fn option(offer: &Offer) -> Markup {
    let fields: Vec<_> = offer.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let stop = match offer.stop {
        Stop::ByItself => None,
        Stop::By(other) => Some(other),
        Stop::WithZero => Some(offer.name),
    };
    html! {
        option value=(offer.name) data-fields=(fields.join("\n")) data-of-hub[offer.hits_one_hub] data-stop=[stop] {
            (offer.label)
        }
    }
}

fn hub_form(namespaces: &[(Namespace, Emulator)]) -> Markup {
    html! {
        form #hub-form {
            h2 { "Change an event hub" }
            label { "Event hub " (hub_choice(namespaces, "change-hub")) }
            label { "Partitions " input #change-partitions inputmode="numeric" placeholder="e.g. 8"; }
            div.wide.line {
                button { "Add partitions" }
                button #recreate type="button" title="Its events are gone" { "Re-create" }
                output #change-result {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_emulator::Fault;
    use serde_json::{Map, Value, json};

    use super::*;

    /// What the script sends for an offer.
    fn sent(offer: &Offer) -> Value {
        let mut fields: Map<String, Value> = offer
            .fields
            .iter()
            .map(|(name, text)| {
                let value = text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
                ((*name).to_owned(), value)
            })
            .collect();
        if offer.hits_one_hub {
            fields.insert("event_hub".into(), json!("orders"));
        }
        json!({ offer.name: fields })
    }

    #[test]
    fn each_fault_of_the_form_is_one_that_the_emulator_knows() {
        for offer in OFFERS {
            let sent = sent(offer);
            let read = serde_json::from_value::<Fault>(sent.clone());
            assert!(read.is_ok(), "{sent}: {read:?}");
            if let Stop::By(other) = offer.stop {
                let ends = json!({ other: { "event_hub": "orders" } });
                assert!(serde_json::from_value::<Fault>(ends).is_ok(), "{other}");
            }
        }
    }
}
