// A PNG of what is shown: the panels, the sizes and the scores.

import { at } from "./elements.js";
import { shown } from "./scores.js";

const SIDE = 360, GAP = 14, LINE = 20;

function picture() {
  const panels = [...at("panels").querySelectorAll("canvas")];
  const { pairs, metrics, k, w } = shown();
  const rows = pairs.map((_, place) => panels.filter((canvas) => Number(canvas.dataset.place) === place));
  const across = Math.max(...rows.map((row) => row.length));
  const high = rows.map((row) => Math.max(...row.map((canvas) => (SIDE * canvas.height) / canvas.width)) + 3 * LINE);
  const lines = metrics.length + 3;
  const width = across * (SIDE + GAP) + GAP;
  const height = high.reduce((a, b) => a + b, 0) + lines * LINE + 2 * GAP;
  const canvas = new OffscreenCanvas(width, Math.ceil(height)), context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.fillStyle = "#1f2328";
  let y = GAP;
  rows.forEach((row, place) => {
    context.font = "bold 15px sans-serif";
    context.fillText(pairs[place].caption, GAP, y + 15, width - 2 * GAP);
    y += LINE + 4;
    context.font = "13px sans-serif";
    row.forEach((panel, i) => {
      const x = GAP + i * (SIDE + GAP);
      context.drawImage(panel, x, y, SIDE, (SIDE * panel.height) / panel.width);
      context.strokeStyle = "#8a8f96";
      context.strokeRect(x, y, SIDE, (SIDE * panel.height) / panel.width);
      context.fillText(panel.nextSibling.textContent, x, y + (SIDE * panel.height) / panel.width + 16, SIDE);
    });
    y += high[place] - LINE;
  });
  y += LINE;
  context.font = "bold 15px sans-serif";
  context.fillText(`Scores at k = ${k}, w = ${w}`, GAP, y);
  context.font = "bold 14px sans-serif";
  if (pairs.length > 1) pairs.forEach((pair, place) => context.fillText(pair.title, GAP + (place + 1) * SIDE, y, SIDE - GAP));
  metrics.forEach((metric) => {
    y += LINE;
    context.font = "14px sans-serif";
    context.fillText(metric.title, GAP, y, SIDE);
    pairs.forEach((pair, place) => {
      const score = pair.windowed?.scores[metric.name] ?? pair.plain?.scores[metric.name];
      if (!score) return;
      const chance = score.chance ? `   chance ${score.chance}` : "";
      context.fillText(`${score.text}${chance}`, GAP + SIDE + place * SIDE, y, SIDE - GAP);
    });
  });
  return canvas;
}

export async function save() {
  const { pairs, k, w } = shown();
  if (!pairs.length) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await picture().convertToBlob({ type: "image/png" }));
  const file = pairs[0].fileName.replace(/\.h5$/, "").replace(/[^\w.-]+/g, "-");
  link.download = `${file}-${pairs[0].sample}-k${k}-w${w}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
