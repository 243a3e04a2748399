// Selected rows: [data-select] boxes, [data-select-all], and the bar [data-bulk] with [data-bulk-count] and [data-bulk-clear].
const boxes = () => [...document.querySelectorAll("[data-select]")];

function show() {
  const all = boxes();
  const chosen = all.filter((box) => box.checked).length;
  for (const bar of document.querySelectorAll("[data-bulk]")) {
    bar.hidden = chosen === 0;
    for (const count of bar.querySelectorAll("[data-bulk-count]")) count.textContent = String(chosen);
  }
  for (const master of document.querySelectorAll("[data-select-all]")) {
    master.checked = chosen > 0 && chosen === all.length;
    master.indeterminate = chosen > 0 && chosen < all.length;
  }
}

function choose(checked) {
  for (const box of boxes()) box.checked = checked;
  show();
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-select-all]")) choose(event.target.checked);
  if (event.target.matches("[data-select]")) show();
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-bulk-clear]")) choose(false);
});

document.addEventListener("htmx:after:swap", show);
show();
