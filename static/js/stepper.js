// data-step="-1" and data-step="1" beside a number input change it within its min and max.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-step]");
  const input = button?.parentElement.querySelector("input");
  if (!input) return;
  const next = (parseInt(input.value, 10) || 0) + Number(button.dataset.step);
  const most = input.max === "" ? Infinity : Number(input.max);
  input.value = String(Math.min(Math.max(next, Number(input.min || 0)), most));
  input.dispatchEvent(new Event("input", { bubbles: true }));
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
