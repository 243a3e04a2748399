// htmx, made to fit: the CSRF header, redirects that are real navigations, and no failure in silence.
import htmx from "../vendor/htmx/htmx.esm.min.js";
import { note } from "./toast.js";

htmx.config.defaultTimeout = 30000;
htmx.config.morphIgnore = [...htmx.config.morphIgnore, "open"]; // a live change must not shut the menu somebody is in

const token = () => document.querySelector('meta[name="csrf-token"]')?.content;
const isOwnRefresh = (ctx) => ctx.request.method === "GET" && ctx.target === ctx.sourceElement;

document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  if (ctx.request.method !== "GET" && token()) ctx.request.headers["X-CSRFToken"] = token();
});

document.addEventListener("htmx:before:response", (event) => {
  const { raw } = event.detail.ctx.response;
  if (!raw.redirected) return;
  event.preventDefault(); // a redirect means another page (sign-in, most often), never a fragment of this one
  location.assign(raw.url);
});

document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
  const { status } = ctx.response;
  if (status === 404 && isOwnRefresh(ctx)) {
    ctx.swap = "delete"; // what it showed is gone
    ctx.text = "";
    return;
  }
  if (ctx.text.includes("<hx-partial")) return; // the server's own note, which finds its place by itself
  if (status === 422) return; // the form again, with its messages
  ctx.swap = "none";
  note(status === 429 ? "busy" : "failed");
});

document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
  if (ctx && !isOwnRefresh(ctx)) note("offline"); // a refresh that failed comes again with the next event
});
