// <time data-time="relative|date|clock|minute|day"> in the reader's own zone and language.
const REFRESH_MS = 20000;
const own = document.documentElement.lang || undefined;
const language = own === "en" ? "en-GB" : own; // day before month, "9 min ago"
const date = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
const ago = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });

function relative(at) {
  const seconds = Math.round((at - Date.now()) / 1000);
  const size = Math.abs(seconds);
  if (size < 10) return ago.format(0, "second");
  if (size < 60) return ago.format(seconds, "second");
  if (size < 3600) return ago.format(Math.round(seconds / 60), "minute");
  if (size < 86400) return ago.format(Math.round(seconds / 3600), "hour");
  return date.format(at);
}

const styles = {
  relative,
  date: (at) => date.format(at),
  clock: (at) => clock.format(at),
  minute: (at) => minute.format(at),
  day: (at) => day.format(at),
};

export const inWords = (style, at) => styles[style](at);

function rewrite() {
  for (const element of document.querySelectorAll("time[data-time]")) {
    const at = new Date(element.dateTime);
    const text = (styles[element.dataset.time] ?? relative)(at);
    if (element.textContent !== text) element.textContent = text;
    element.title ||= full.format(at);
  }
}

rewrite();
setInterval(rewrite, REFRESH_MS);
document.addEventListener("htmx:after:swap", rewrite);
