"use strict";

const MAX_ROWS = 200;
const byId = (id) => document.getElementById(id);

// Replaces the tables again and again, unless somebody is about to copy something from them or to press a button.
async function refresh() {
  const live = byId("live");
  const state = byId("state");
  const selection = getSelection();
  const isSelected = !selection.isCollapsed && live.contains(selection.anchorNode);
  if (!isSelected && !live.querySelector("button:hover")) {
    try {
      const answer = await fetch("/live");
      if (!answer.ok) throw new Error(answer.statusText);
      live.innerHTML = await answer.text();
      showRates(live);
      state.textContent = "live";
      state.className = "live";
    } catch {
      state.textContent = "the emulator does not answer";
      state.className = "lost";
    }
  }
  setTimeout(refresh, 1000);
}

// What each hub had counted at the last refresh, and when.
const counted = new Map();

function showRates(live) {
  const now = performance.now();
  for (const [index, article] of live.querySelectorAll("[data-in]").entries()) {
    const key = `${index} ${article.dataset.hub}`;
    const before = counted.get(key);
    const count = { now, in: Number(article.dataset.in), out: Number(article.dataset.out) };
    counted.set(key, count);
    if (!before) continue;
    for (const way of ["in", "out"]) {
      // A hub that was created again, or a reader that left, counts from the beginning.
      const rate = Math.max(0, (1000 * (count[way] - before[way])) / (now - before.now));
      article.querySelector(`.${way}`).textContent = `${Math.round(rate).toLocaleString("en")}/s ${way}`;
    }
  }
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    getSelection().removeAllRanges();
    button.textContent = "Copied";
  } catch {
    // Without https only this machine may write to the clipboard. The text is selected, so that a key does it.
    button.textContent = "Press Ctrl-C";
  }
}

function namespaceUrl(choice) {
  const { namespace } = byId(choice).selectedOptions[0].dataset;
  return `/namespaces/${encodeURIComponent(namespace)}`;
}

function hubUrl(choice) {
  const { hub } = byId(choice).selectedOptions[0].dataset;
  return `${namespaceUrl(choice)}/event-hubs/${encodeURIComponent(hub)}`;
}

// Asks, and tells what came of it.
async function ask(method, url, body, result, done) {
  try {
    const answer = await fetch(url, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const said = await answer.json();
    result.textContent = answer.ok ? done(said) : said.error;
    result.className = answer.ok ? "" : "bad";
  } catch {
    result.textContent = "The emulator does not answer.";
    result.className = "bad";
  }
}

async function publish(submitted) {
  submitted.preventDefault();
  const event = { body: byId("publish-body").value };
  if (byId("publish-partition").value) event.partition_id = byId("publish-partition").value;
  if (byId("publish-key").value) event.partition_key = byId("publish-key").value;
  await ask("POST", `${hubUrl("publish-hub")}/events`, event, byId("publish-result"), () => "Published.");
}

function chosenFault() {
  return byId("fault").selectedOptions[0];
}

// Puts the fields of the chosen fault into the form.
function showFault() {
  const { fields, stop } = chosenFault().dataset;
  const labels = fields.split("\n").filter(Boolean).map((field) => {
    const at = field.indexOf("=");
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.name = field.slice(0, at);
    input.value = field.slice(at + 1);
    label.append(input.name.replaceAll("_", " "), input);
    return label;
  });
  byId("fault-fields").replaceChildren(...labels);
  byId("fault-stop").disabled = stop === undefined;
  byId("fault-hub").disabled = chosenFault().dataset.ofHub === undefined;
  byId("fault-result").textContent = "";
}

function injectFault(name, read) {
  const fault = { fault: name };
  if (chosenFault().dataset.ofHub !== undefined) fault.event_hub = byId("fault-hub").selectedOptions[0].dataset.hub;
  for (const input of byId("fault-fields").querySelectorAll("input")) {
    const value = read(input);
    if (value !== undefined) fault[input.name] = value;
  }
  const told = ({ hit }) => (hit === null ? "Done." : `Done: ${hit} hit.`);
  return ask("POST", `${namespaceUrl("fault-hub")}/faults`, fault, byId("fault-result"), told);
}

function startFault(submitted) {
  submitted.preventDefault();
  return injectFault(chosenFault().value, ({ value }) => (/^\d+$/.test(value) ? Number(value) : value));
}

// Either another fault without fields ends it, or the same with zero.
function stopFault() {
  const { stop } = chosenFault().dataset;
  return injectFault(stop, () => (stop === chosenFault().value ? 0 : undefined));
}

function changeHub(method) {
  const partitions = Number(byId("change-partitions").value);
  return ask(method, hubUrl("change-hub"), { partitions }, byId("change-result"), () => "Done.");
}

function show(event) {
  const row = document.createElement("tr");
  const time = event.enqueued_time_ms === null ? "" : new Date(event.enqueued_time_ms).toLocaleTimeString();
  for (const text of [event.partition_id, event.sequence_number, time, event.partition_key ?? "", event.body]) {
    // as text: an event may hold anything
    row.insertCell().textContent = text;
  }
  row.cells[1].className = "number";
  row.cells[2].className = "detail";
  row.cells[4].title = event.body;
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
byId("live").addEventListener("click", ({ target }) => {
  if (target.dataset.copy) copy(target);
});
byId("fault").addEventListener("change", showFault);
byId("faults").addEventListener("submit", startFault);
byId("fault-stop").addEventListener("click", stopFault);
byId("hub-form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  changeHub("PATCH");
});
byId("recreate").addEventListener("click", () => changeHub("PUT"));
showFault();
byId("tail-toggle").addEventListener("click", toggleTail);
byId("tail-hub").addEventListener("change", () => {
  if (tail) {
    toggleTail();
    toggleTail();
  }
});
refresh();
