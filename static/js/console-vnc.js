// The machine's screen: noVNC, key chords, paste as keystrokes, scaling, screenshot.
import RFB from "../vendor/novnc/core/rfb.js";
import { display, keep, name, show } from "./console-link.js";
import { chord, typed } from "./keysyms.js";

const SHIFT = [0xffe1, "ShiftLeft"];
const TYPING_PAUSE_MS = 12; // slower than a burst: firmware and boot loaders drop keys
const fit = document.querySelector("[data-fit]");
let rfb = null;

function size() {
  const canvas = display.querySelector("canvas");
  return canvas ? `${canvas.width} × ${canvas.height}` : "";
}

function scale() {
  const on = fit.getAttribute("aria-pressed") === "true";
  display.parentElement.dataset.fit = on ? "on" : "off";
  if (!rfb) return;
  rfb.scaleViewport = on;
  rfb.clipViewport = !on;
  rfb.dragViewport = false;
}

function attach(url, done) {
  display.replaceChildren();
  const session = new RFB(display, url, { wsProtocols: ["binary"], shared: true });
  rfb = session;
  session.background = "#07090c";
  session.focusOnClick = true;
  scale();
  session.addEventListener("connect", () => {
    done.opened();
    show("connected", size());
    session.focus();
  });
  session.addEventListener("desktopname", () => show("connected", size()));
  session.addEventListener("disconnect", () => {
    if (rfb === session) rfb = null;
    done();
  });
  return () => session.disconnect();
}

function press(keys) {
  for (const [keysym, code] of keys) rfb.sendKey(keysym, code, true);
  for (const [keysym, code] of [...keys].reverse()) rfb.sendKey(keysym, code, false);
}

async function type(text) {
  for (const character of text.replaceAll("\r\n", "\n")) {
    if (!rfb) return;
    const { keysym, shift } = typed(character);
    if (shift) rfb.sendKey(...SHIFT, true);
    rfb.sendKey(keysym, null);
    if (shift) rfb.sendKey(...SHIFT, false);
    await new Promise((next) => setTimeout(next, TYPING_PAUSE_MS));
  }
}

function screenshot() {
  rfb.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name}-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-chord], [data-screenshot], [data-fit]");
  if (!button) return;
  if (button === fit) {
    fit.setAttribute("aria-pressed", String(fit.getAttribute("aria-pressed") !== "true"));
    scale();
    return;
  }
  if (!rfb) return;
  if (button.dataset.chord) press(chord(button.dataset.chord));
  else screenshot();
  rfb.focus();
});

document.querySelector("[data-paste]").addEventListener("submit", (event) => {
  const area = event.target.querySelector("textarea");
  type(area.value);
  area.value = "";
  rfb?.focus();
});

keep(attach);
