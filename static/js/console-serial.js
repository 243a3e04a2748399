// The machine's serial line: xterm over the console proxy's raw bytes.
import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { Terminal } from "../vendor/xterm/xterm.mjs";
import { display, keep, show } from "./console-link.js";

const terminal = new Terminal({
  fontFamily: '"JetBrains Mono Variable", ui-monospace, Menlo, Consolas, monospace',
  fontSize: 13,
  scrollback: 5000,
  cursorBlink: true,
  screenReaderMode: true,
  theme: { background: "#07090c", foreground: "#d5d9e0" },
});
const fit = new FitAddon();
const encoder = new TextEncoder();
let socket = null;

function send(text) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(encoder.encode(text));
}

function attach(url, done) {
  const own = new WebSocket(url, ["binary"]);
  own.binaryType = "arraybuffer";
  socket = own;
  own.addEventListener("open", () => {
    done.opened();
    show("connected", `${terminal.cols} × ${terminal.rows}`);
    terminal.focus();
  });
  own.addEventListener("message", ({ data }) => terminal.write(new Uint8Array(data)));
  own.addEventListener("close", done);
  return () => own.close();
}

terminal.loadAddon(fit);
terminal.open(display);
fit.fit();
new ResizeObserver(() => fit.fit()).observe(display);
terminal.onData(send);

document.querySelector("[data-paste]").addEventListener("submit", (event) => {
  const area = event.target.querySelector("textarea");
  send(area.value.replaceAll("\r\n", "\n").replaceAll("\n", "\r"));
  area.value = "";
  terminal.focus();
});

keep(attach);
