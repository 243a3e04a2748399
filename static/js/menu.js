// <details data-menu> behaves like a menu: one open at a time, closed by Escape, by a click outside, by a choice.
// data-menu="fill" hears "fill" when it opens, and again when what it stands in was refreshed: htmx then reads what is in it.
const open = () => document.querySelectorAll("details[data-menu][open]");
const fill = (menu) => menu.dataset.menu === "fill" && menu.dispatchEvent(new Event("fill"));

// "toggle" does not bubble, so it is caught on its way down.
document.addEventListener("toggle", ({ target }) => {
  if (target.matches("details[data-menu][open]")) fill(target);
}, true);

document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  for (const menu of open()) if (ctx.target.contains(menu)) fill(menu);
});

document.addEventListener("click", (event) => {
  const own = event.target.closest("details[data-menu]");
  const chosen = event.target.closest("[data-menu] a, [data-menu] button");
  for (const menu of open()) if (menu !== own || chosen) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of open()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("focusin", (event) => {
  for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
});
