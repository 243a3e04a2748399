// data-copy="text" puts the text on the clipboard; data-copy-from="id" takes it from an element. The tick shows it worked.
const SHOWN_MS = 1600;

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // plain http has no clipboard API
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  await copy(button.dataset.copy ?? document.getElementById(button.dataset.copyFrom).textContent.trim());
  const use = button.querySelector("use");
  const before = use?.getAttribute("href");
  if (before?.endsWith("#copy")) use.setAttribute("href", before.replace(/#copy$/, "#check"));
  button.dataset.copied = "";
  setTimeout(() => {
    if (before) use.setAttribute("href", before);
    delete button.dataset.copied;
  }, SHOWN_MS);
});
