// <details data-menu> behaves like a menu: one open at a time, closed by Escape, by a click outside, by a choice.
const open = () => document.querySelectorAll("details[data-menu][open]");

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
