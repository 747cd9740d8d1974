"use strict";

const MAX_ROWS = 200;
const byId = (id) => document.getElementById(id);

// Replaces the tables again and again, unless somebody is about to copy something from them.
async function refresh() {
  const live = byId("live");
  const state = byId("state");
  const selection = getSelection();
  if (selection.isCollapsed || !live.contains(selection.anchorNode)) {
    try {
      const answer = await fetch("/live");
      if (!answer.ok) throw new Error(answer.statusText);
      live.innerHTML = await answer.text();
      state.textContent = "live";
      state.className = "live";
    } catch {
      state.textContent = "the emulator does not answer";
      state.className = "lost";
    }
  }
  setTimeout(refresh, 1000);
}

function hubUrl(choice) {
  const { namespace, hub } = byId(choice).selectedOptions[0].dataset;
  return `/namespaces/${encodeURIComponent(namespace)}/event-hubs/${encodeURIComponent(hub)}`;
}

async function publish(submitted) {
  submitted.preventDefault();
  const event = { body: byId("publish-body").value };
  if (byId("publish-partition").value) event.partition_id = byId("publish-partition").value;
  if (byId("publish-key").value) event.partition_key = byId("publish-key").value;
  const result = byId("publish-result");
  try {
    const answer = await fetch(`${hubUrl("publish-hub")}/events`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(event),
    });
    const { error } = await answer.json();
    result.textContent = error ?? "Published.";
    result.className = answer.ok ? "" : "bad";
  } catch {
    result.textContent = "The emulator does not answer.";
    result.className = "bad";
  }
}

function show(event) {
  const row = document.createElement("tr");
  const time = event.enqueued_time_ms === null ? "" : new Date(event.enqueued_time_ms).toLocaleTimeString();
  for (const text of [event.partition_id, event.sequence_number, time, event.partition_key ?? "", event.body]) {
    // as text: an event may hold anything
    row.insertCell().textContent = text;
  }
  row.cells[1].className = "number";
  const rows = byId("tail-events");
  rows.prepend(row);
  if (rows.rows.length > MAX_ROWS) rows.deleteRow(-1);
  byId("tail-empty").hidden = true;
}

let tail = null;

function toggleTail() {
  const toggle = byId("tail-toggle");
  if (tail) {
    tail.close();
    tail = null;
    toggle.textContent = "Start";
    return;
  }
  byId("tail-events").replaceChildren();
  byId("tail-empty").hidden = false;
  tail = new EventSource(`${hubUrl("tail-hub")}/tail?recent=5`);
  tail.onmessage = ({ data }) => show(JSON.parse(data));
  toggle.textContent = "Stop";
}

byId("publish").addEventListener("submit", publish);
byId("tail-toggle").addEventListener("click", toggleTail);
byId("tail-hub").addEventListener("change", () => {
  if (tail) {
    toggleTail();
    toggleTail();
  }
});
refresh();
