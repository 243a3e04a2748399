// Native dialogs. <dialog data-modal> opens when it arrives, data-open="id" opens one, data-close closes its own.
// data-confirm="name" keeps the button data-confirm-for points at disabled until the name is typed.
function open(dialog) {
  dialog.removeAttribute("open"); // not close(): that would tell everybody it was closed
  dialog.showModal();
}

function confirmable(input) {
  const button = document.getElementById(input.dataset.confirmFor);
  if (button) button.disabled = input.value.trim() !== input.dataset.confirm;
}

function arrive(root) {
  for (const dialog of root.querySelectorAll("dialog[data-modal]")) if (!dialog.matches(":modal")) open(dialog);
  for (const input of root.querySelectorAll("[data-confirm]")) confirmable(input);
}

document.addEventListener("htmx:after:swap", () => arrive(document));

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) open(document.getElementById(opener.dataset.open));
  const closer = event.target.closest("[data-close]");
  if (closer?.closest("dialog")) {
    event.preventDefault(); // without scripts it is a link back
    closer.closest("dialog").close();
  }
});

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-confirm]")) confirmable(event.target);
});

// "close" does not bubble, so it is caught on its way down.
document.addEventListener("close", (event) => {
  if (event.target.matches("#dialog-slot dialog")) event.target.remove();
}, true);

arrive(document);
