// Turns the tenant's event stream into DOM events on <body>; knows nothing of what a guest is.
//   {type: "hello", seq}, first of all                            →  nothing: where the stream stands
//   {seq, type: "guest.changed", resource: {type: "guest", id}}   →  "guest:<id>" and "guests"
//   {type: "reset", seq}: we missed more than is kept             →  "refresh"
// A lost connection comes back after a jittered pause and asks for what it missed by ?after=SEQ.
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20000;
const TIME_TO_LEAVE_MS = 5000;
const SIGNED_OUT = 4401;
const NOT_A_MEMBER = 4403;
const PLURALS = { quota: "quota", quota_request: "quota" };

const path = document.body.dataset.events;
let seq = document.body.dataset.seq ?? "";
let failures = 0;
let timer;
let leaving = false;

function show(state) {
  for (const pill of document.querySelectorAll("[data-live]")) pill.dataset.state = state;
}

/** Dispatches `name` on body with the event as its detail. */
export function announce(name, detail = {}) {
  document.body.dispatchEvent(new CustomEvent(name, { detail }));
}

function receive(event) {
  if (event.type === "hello") {
    if (seq === "") seq = String(event.seq); // else what we missed is still to come, and a drop must not skip it
    return;
  }
  if (event.seq !== undefined) seq = String(event.seq);
  if (event.type === "reset") announce("refresh", event);
  if (!event.resource) return;
  const { type, id } = event.resource;
  announce(`${type}:${id}`, event);
  announce(PLURALS[type] ?? `${type}s`, event);
}

function connect() {
  clearTimeout(timer);
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  if (seq !== "") url.searchParams.set("after", seq);
  const socket = new WebSocket(url);
  socket.addEventListener("open", () => {
    failures = 0;
    show("live");
  });
  socket.addEventListener("message", ({ data }) => receive(JSON.parse(data)));
  socket.addEventListener("close", ({ code }) => {
    if (code === SIGNED_OUT || code === NOT_A_MEMBER) {
      // The sign-in knows where to go from here. Who ended this themselves is on their way already: an answer to
      // "Sign out" or "End the visit" must not be overtaken by what it brought about.
      setTimeout(() => location.assign(document.body.dataset.signIn), leaving ? TIME_TO_LEAVE_MS : 0);
      return;
    }
    show("reconnecting");
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures++);
    timer = setTimeout(connect, pause * (0.5 + Math.random() / 2));
  });
}

if (path) {
  connect();
  window.addEventListener("beforeunload", () => (leaving = true));
  window.addEventListener("pageshow", () => (leaving = false));
  window.addEventListener("online", () => {
    if (document.querySelector('[data-live][data-state="reconnecting"]')) connect();
  });
}
