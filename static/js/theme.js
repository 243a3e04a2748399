// Loaded blocking in <head>, so that no page flashes the wrong theme. A classic script: the admin site uses it too.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const asked = new URLSearchParams(location.search).get("theme");

  function saved() {
    try {
      return localStorage.getItem("gh-theme");
    } catch {
      return null; // storage can be forbidden; then the system decides
    }
  }

  function apply() {
    const wish = asked ?? saved();
    const dark = wish === "dark" || (wish !== "light" && system.matches);
    root.dataset.bsTheme = dark ? "dark" : "light";
    root.dataset.theme = root.dataset.bsTheme; // the admin site's own name for it
  }

  apply();
  system.addEventListener("change", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const next = root.dataset.bsTheme === "dark" ? "light" : "dark";
    root.dataset.bsTheme = root.dataset.theme = next;
    try {
      localStorage.setItem("gh-theme", next);
    } catch {
      return; // not remembered, but switched
    }
  });
})();
