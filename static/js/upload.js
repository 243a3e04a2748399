// Sends a file in pieces, each where the last one ended; goes on after a lost connection, and, once the file is chosen
// again, after a reload. form[data-upload] announces a new one; [data-upload-resume="url"][data-size] goes on with one.
const FIRST_PIECE = 256 * 1024;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20000;
const QUICK_MS = 1500;
const token = document.querySelector('meta[name="csrf-token"]').content;
let going = 0;

class Refused extends Error {}

/** The answer's JSON; what the portal refuses is a Refused, what did not arrive is an Error. */
async function ask(url, options = {}) {
  const headers = { Accept: "application/json", "X-CSRFToken": token, ...options.headers };
  const answer = await fetch(url, { ...options, headers, redirect: "error" });
  const facts = await answer.json().catch(() => ({}));
  if (answer.ok) return facts;
  if (answer.status >= 500 || answer.status === 429 || answer.status === 408) throw new Error(String(answer.status));
  throw Object.assign(new Refused(facts.detail ?? ""), { facts, status: answer.status });
}

function show(place, words, percent) {
  const bar = place.querySelector("[data-upload-bar]");
  const label = bar.querySelector("[data-upload-words]");
  bar.hidden = false;
  label.textContent = (label.dataset[words] ?? words).replace("{percent}", String(percent));
  if (percent === undefined) return;
  const [used] = bar.querySelectorAll("rect");
  used.setAttribute("width", String(percent));
}

const pause = (failures) =>
  new Promise((wake) => {
    const ms = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random() / 2);
    const timer = setTimeout(wake, ms);
    window.addEventListener("online", () => (clearTimeout(timer), wake()), { once: true });
  });

/** Sends what is missing of `file`; pieces grow while they go quickly and shrink when they fail. */
async function send(file, upload, place) {
  let [piece, failures] = [FIRST_PIECE, 0];
  while (upload.received < upload.size) {
    show(place, "going", Math.floor((100 * upload.received) / upload.size));
    const body = file.slice(upload.received, upload.received + Math.min(piece, upload.piece_most));
    const headers = { "Content-Type": "application/octet-stream", "Upload-Offset": String(upload.received) };
    const began = performance.now();
    try {
      upload = await ask(upload.url, { method: "PUT", headers, body });
      failures = 0;
      if (performance.now() - began < QUICK_MS) piece = Math.min(piece * 2, upload.piece_most);
    } catch (error) {
      if (error instanceof Refused && error.facts.code !== "wrong_offset") throw error;
      piece = Math.max(FIRST_PIECE / 4, piece / 2);
      show(place, "waiting");
      await pause(failures++);
      upload = await ask(upload.url).catch((lost) => {
        if (lost instanceof Refused) throw lost;
        return upload;
      });
    }
  }
  return upload;
}

async function run(place, work) {
  going += 1;
  for (const button of place.querySelectorAll("button")) button.disabled = true;
  try {
    const upload = await work();
    going -= 1;
    if (going === 0) location.assign(upload.done_url);
  } catch (error) {
    going -= 1;
    for (const button of place.querySelectorAll("button")) button.disabled = false;
    const faults = (error.facts?.errors ?? []).map((fault) => fault.message).join(" ");
    show(place, faults || error.message || "refused");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-upload]");
  if (!form) return;
  event.preventDefault();
  const [file] = form.querySelector("[data-upload-file]").files;
  if (!file) return;
  const fields = new FormData(form);
  fields.set("upload-size", String(file.size));
  run(form, async () => send(file, await ask(form.action, { method: "POST", body: fields }), form));
});

document.addEventListener("change", (event) => {
  const place = event.target.closest("[data-upload-resume]");
  const file = event.target.files?.[0];
  if (!place || !file) return;
  if (file.size !== Number(place.dataset.size)) show(place, "other");
  else run(place, async () => send(file, await ask(place.dataset.uploadResume), place));
});

window.addEventListener("beforeunload", (event) => {
  if (going) event.preventDefault();
});
