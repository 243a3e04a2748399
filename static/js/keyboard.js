// Ctrl K (or Cmd K) goes to the search, Ctrl Enter sends the form marked data-ctrl-enter.
function visible(element) {
  return element.getClientRects().length > 0;
}

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  if (event.key.toLowerCase() === "k") {
    const field = [...document.querySelectorAll("[data-search]")].find(visible);
    if (!field) return;
    event.preventDefault();
    field.focus();
    field.select();
  }
  if (event.key === "Enter") document.querySelector("form[data-ctrl-enter]")?.requestSubmit();
});
