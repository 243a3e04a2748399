// A list that learns of a thing it does not show yet asks for itself again: data-list="guest".
document.body.addEventListener("refresh", () => {
  for (const list of document.querySelectorAll("[data-list]")) list.dispatchEvent(new Event("reload"));
});

for (const type of new Set([...document.querySelectorAll("[data-list]")].map((list) => list.dataset.list))) {
  document.body.addEventListener(`${type}s`, ({ detail }) => {
    if (document.getElementById(`${type}-${detail.resource.id}`)) return; // its row refreshes itself
    document.querySelector(`[data-list="${type}"]`)?.dispatchEvent(new Event("reload"));
  });
}
