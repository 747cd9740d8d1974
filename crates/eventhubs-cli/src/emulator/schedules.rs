//! Schedules of faults: one over HTTP, or one after the other with `--chaos`.

use std::future::pending;
use std::sync::Weak;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use eventhubs_emulator::{Schedule, ScheduleSettings};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::running::Running;
use super::site::{Answer, Body, Site, ok, refusal, with_emulator};

/// How long each schedule of `--chaos` lasts.
const CHAOS_ROUND: Duration = Duration::from_secs(60);

/// What to draw a schedule from; what is left out is as in `ScheduleSettings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    seed: u64,
    /// All of the namespace, unless given.
    event_hubs: Option<Vec<String>>,
    milliseconds: Option<u64>,
    mean_pause_milliseconds: Option<u64>,
    longest_outage_milliseconds: Option<u64>,
}

impl Wish {
    fn settings(&self, all: Vec<String>) -> ScheduleSettings {
        let event_hubs = self.event_hubs.clone().unwrap_or(all);
        let mut settings = ScheduleSettings::for_event_hubs(event_hubs);
        let set = |to: &mut Duration, wish: Option<u64>| *to = wish.map_or(*to, Duration::from_millis);
        set(&mut settings.duration, self.milliseconds);
        set(&mut settings.mean_pause, self.mean_pause_milliseconds);
        set(&mut settings.longest_outage, self.longest_outage_milliseconds);
        settings
    }
}

/// Starts to play a schedule, and answers with its steps.
pub(super) async fn start(
    State(site): State<Site>,
    Path(namespace): Path<String>,
    Body(wish): Body<Wish>,
) -> Answer {
    let Ok(place) = site.schedules.try_acquire_owned() else {
        return refusal(StatusCode::TOO_MANY_REQUESTS, "too many schedules are being played");
    };
    with_emulator(&site.running, &namespace.clone(), |emulator| {
        let all: Vec<_> = emulator.event_hubs().into_iter().map(|hub| hub.name).collect();
        let settings = wish.settings(all);
        for hub in &settings.event_hubs {
            emulator.partitions(hub)?;
        }
        let schedule = Schedule::generate(wish.seed, &settings);
        let step =
            |(at, fault): &(Duration, _)| json!({ "at_ms": at.as_millis(), "fault": format!("{fault:?}") });
        let steps: Vec<_> = schedule.steps().iter().map(step).collect();
        let running = Weak::clone(&site.running);
        tokio::spawn(async move {
            play(&running, &namespace, &schedule).await;
            drop(place);
        });
        Ok(ok(json!({ "seed": wish.seed, "steps": steps })))
    })
}

/// Plays schedules of consecutive seeds on all namespaces, forever; without a seed nothing.
pub(super) async fn chaos(running: &Weak<Running>, seed: Option<u64>) {
    let Some(first) = seed else { return pending().await };
    let names: Vec<_> = running.upgrade().iter().flat_map(|running| running.names()).collect();
    for seed in first.. {
        tracing::warn!(seed, "the next schedule of faults");
        let end = Instant::now() + CHAOS_ROUND;
        join_all(names.iter().map(|namespace| round(running, namespace, seed))).await;
        sleep_until(end).await;
    }
}

async fn round(running: &Weak<Running>, namespace: &str, seed: u64) {
    let hubs = running.upgrade().and_then(|running| Some(running.emulator(namespace)?.event_hubs()));
    let names = hubs.into_iter().flatten().map(|hub| hub.name);
    let mut settings = ScheduleSettings::for_event_hubs(names);
    settings.duration = CHAOS_ROUND;
    play(running, namespace, &Schedule::generate(seed, &settings)).await;
}

/// As `Emulator::play`, without keeping the emulator alive. A hub that is deleted meanwhile is left out.
async fn play(running: &Weak<Running>, namespace: &str, schedule: &Schedule) {
    let start = Instant::now();
    for (at, fault) in schedule.steps() {
        sleep_until(start + *at).await;
        let Some(running) = running.upgrade() else { return };
        let Some(emulator) = running.emulator(namespace) else { return };
        let injected = emulator.inject(fault);
        tracing::info!(seed = schedule.seed(), ?at, ?fault, ?injected, "a fault of the schedule");
    }
}
