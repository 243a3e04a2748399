// Toasts go away by themselves, notes stay until dismissed; both can come with a partial or from here.
const LINGER_MS = 8000;

/** Shows one of the prepared notes of base.html: "failed", "offline" or "busy". Never twice the same at once. */
export function note(kind) {
  const place = document.querySelector("#notes");
  const source = document.querySelector(`template[data-note="${kind}"]`);
  if (!place || !source || place.querySelector(`[data-kind="${kind}"]`)) return;
  const copy = source.content.firstElementChild.cloneNode(true);
  copy.dataset.kind = kind;
  place.prepend(copy);
}

/** Adds a toast with one line of text. */
export function toast(text) {
  const source = document.querySelector('template[data-note="toast"]');
  const place = document.querySelector("#toasts");
  if (!source || !place) return;
  const copy = source.content.firstElementChild.cloneNode(true);
  copy.querySelector("[data-text]").textContent = text;
  place.append(copy);
}

function linger(element) {
  let timer;
  const wait = () => (timer = setTimeout(() => element.remove(), LINGER_MS));
  const hold = () => clearTimeout(timer);
  element.addEventListener("pointerenter", hold);
  element.addEventListener("focusin", hold);
  element.addEventListener("pointerleave", wait);
  element.addEventListener("focusout", wait);
  wait();
}

const place = document.querySelector("#toasts");
if (place) {
  for (const element of place.children) linger(element);
  new MutationObserver((changes) => {
    for (const change of changes) for (const added of change.addedNodes) if (added instanceof Element) linger(added);
  }).observe(place, { childList: true });
}

document.addEventListener("click", (event) => {
  event.target.closest("[data-dismiss]")?.closest("[data-dismissable]")?.remove();
});
