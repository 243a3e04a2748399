// What both consoles share: the ticket, the cover with its reason, the state in the foot, trying again.
const root = document.querySelector("[data-console]");
const foot = document.querySelector(".gh-con-foot");
const cover = document.querySelector("[data-cover]");
const words = document.querySelector("template[data-words]").dataset;
const PAUSES_MS = [0, 1000, 3000, 8000];

const ready = () => document.querySelector("#console-head").dataset.ready === "yes";

export const display = document.querySelector("[data-display]");
export const name = root.dataset.name;

/** Says where the connection stands: "connecting", "connected" or "closed". */
export function show(state, size = "") {
  foot.dataset.state = state;
  foot.querySelector("[data-size]").textContent = size;
  if (state !== "closed") cover.hidden = true;
}

function explain(text) {
  show("closed");
  cover.querySelector("[data-cover-text]").textContent = text;
  cover.hidden = false;
}

/** A fresh single-use address for this console, or null after saying why there is none. */
async function ticket() {
  let answer;
  try {
    answer = await fetch(root.dataset.ticketUrl, {
      method: "POST",
      headers: {
        "X-CSRFToken": document.querySelector('meta[name="csrf-token"]').content,
        "Content-Type": "application/x-www-form-urlencoded",
        Accept: "application/json",
      },
      body: new URLSearchParams({ kind: root.dataset.console }),
    });
  } catch {
    explain(words.silent);
    return null;
  }
  if (answer.redirected) location.reload(); // signed out: the page itself leads to the sign-in
  if (answer.ok) return (await answer.json()).url;
  const problem = await answer.json().catch(() => ({}));
  explain(problem.detail ?? { 403: words.denied, 404: words.denied, 409: words.off }[answer.status] ?? words.silent);
  return null;
}

/**
 * Keeps a console connected. `attach(url, done)` opens it and returns a function that closes it;
 * it calls `done()` when the connection ends by itself, and `done.opened()` when it stands.
 */
export function keep(attach) {
  let close = null;
  let tries = 0;
  let timer;

  async function connect() {
    clearTimeout(timer);
    close?.();
    close = null;
    if (!ready()) {
      explain(words.off);
      return;
    }
    show("connecting");
    const url = await ticket();
    if (!url) return;
    let over = false;
    const done = () => {
      if (over) return;
      over = true;
      close = null;
      if (tries >= PAUSES_MS.length) explain(words.lost);
      else timer = setTimeout(connect, PAUSES_MS[tries++]);
    };
    done.opened = () => (tries = 0);
    const end = attach(url, done);
    close = () => {
      over = true;
      end();
    };
  }

  function again() {
    tries = 0;
    connect();
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-reconnect]")) again();
    if (event.target.closest("[data-fullscreen]")) {
      if (document.fullscreenElement) document.exitFullscreen();
      else root.requestFullscreen();
    }
  });
  document.addEventListener("htmx:after:swap", () => {
    if (foot.dataset.state === "closed" && ready()) again(); // the bar says that it runs now
  });
  connect();
}
