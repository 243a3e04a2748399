// The exact figures under the pointer: data-chart holds lines whose data-words are one a point, parted by bars.
import { inWords } from "./time.js";

const WIDTH = 600;

function point(chart, index, moment) {
  const lines = [...chart.querySelectorAll("[data-words]")];
  const figures = chart.querySelectorAll("[data-figure]");
  lines.forEach((line, number) => {
    figures[number].textContent = line.dataset.words.split("|")[index] || "–";
  });
  chart.querySelector("[data-moment]").textContent = moment;
}

function follow(event) {
  const svg = event.target.closest("[data-chart] .gh-chart");
  if (!svg) return;
  const chart = svg.closest("[data-chart]");
  const last = chart.querySelector("[data-words]").dataset.words.split("|").length - 1;
  const box = svg.getBoundingClientRect();
  const index = Math.round(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * last);
  const here = svg.querySelector(".here");
  for (const name of ["x1", "x2"]) here.setAttribute(name, (WIDTH * index) / last);
  const at = new Date((Number(chart.dataset.begins) + index * Number(chart.dataset.step)) * 1000);
  point(chart, index, inWords("date", at));
}

document.addEventListener("pointermove", follow);
document.addEventListener("pointerdown", follow);
