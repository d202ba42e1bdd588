// Two scores of all samples that the filters leave, a point each; a click opens the sample.

import { at } from "./elements.js";
import { axes, checked, fileOf, numberOf, query, titleOf } from "./samples.js";
import { latest, points } from "./server.js";
import { change, state } from "./state.js";

let shown = null;
const MARGIN = { left: 46, right: 12, top: 10, bottom: 34 };

const load = latest("scatter", async (asked) => {
  shown = { ...(await points(checked(asked))), asked };
  draw();
});

export function refresh() {
  const { x, y } = axes();
  if (at("scatter-part").open && x && y) load({ ...query(), sort: "file", falling: "", x, y });
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
  if (low > high) return [0, 1];
  const margin = (high - low) * 0.04 || 0.5;
  return [low - margin, high + margin];
}

const short = (value) => String(+value.toPrecision(3));

export function draw() {
  const canvas = at("scatter");
  if (!at("scatter-part").open || !shown) return;
  const ratio = devicePixelRatio, wide = canvas.clientWidth, high = canvas.clientHeight;
  canvas.width = wide * ratio; canvas.height = high * ratio;
  const context = canvas.getContext("2d"), style = getComputedStyle(document.body);
  const colour = (name) => style.getPropertyValue(name).trim();
  context.scale(ratio, ratio);
  context.clearRect(0, 0, wide, high);
  const [x0, x1] = extent(shown.x), [y0, y1] = extent(shown.y);
  const { left, right, top, bottom } = MARGIN;
  shown.px = (v) => left + ((v - x0) / (x1 - x0)) * (wide - left - right);
  shown.py = (v) => high - bottom - ((v - y0) / (y1 - y0)) * (high - top - bottom);
  context.strokeStyle = colour("--soft");
  context.strokeRect(left, top, wide - left - right, high - top - bottom);
  context.fillStyle = colour("--ink");
  context.font = "11px sans-serif";
  context.textAlign = "left"; context.fillText(short(x0), left, high - 20);
  context.textAlign = "right"; context.fillText(short(x1), wide - right, high - 20);
  context.textAlign = "center"; context.fillText(titleOf(shown.asked.x), left + (wide - left - right) / 2, high - 6, wide - left);
  context.textAlign = "right"; context.fillText(short(y0), left - 4, high - bottom); context.fillText(short(y1), left - 4, top + 10);
  context.save();
  context.translate(11, top + (high - top - bottom) / 2); context.rotate(-Math.PI / 2);
  context.textAlign = "center"; context.fillText(titleOf(shown.asked.y), 0, 0, high - top - bottom);
  context.restore();
  context.fillStyle = colour("--link");
  const n = shown.x.length, radius = n > 2000 ? 1.5 : 2.5;
  context.globalAlpha = n > 2000 ? 0.35 : 0.6;
  context.beginPath();
  for (let i = 0; i < n; i++) {
    const x = shown.px(shown.x[i]), y = shown.py(shown.y[i]);
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 7);
  }
  context.fill();
  context.globalAlpha = 1;
  const current = place();
  if (current >= 0) {
    context.strokeStyle = colour("--bad");
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(shown.px(shown.x[current]), shown.py(shown.y[current]), 6, 0, 7);
    context.stroke();
  }
  const some = shown.total > n ? `${n} of ${shown.total} samples, evenly many along the first score` : `${n} samples`;
  const text = `${titleOf(shown.asked.y)} against ${titleOf(shown.asked.x)}, ${some}. A click opens the nearest; left and right arrows open the next.`;
  at("scatter-text").textContent = n ? text : "No sample has both scores.";
  canvas.setAttribute("aria-label", text);
}

function place() {
  const file = numberOf(state.file), position = Number(state.position);
  return shown.x.findIndex((_, i) => shown.file[i] === file && shown.position[i] === position);
}

function open(i) {
  if (i >= 0 && i < shown.x.length) change({ file: fileOf(shown.file[i]).name, position: shown.position[i] }, { step: true });
}

export function listen() {
  const canvas = at("scatter");
  at("scatter-part").addEventListener("toggle", refresh);
  canvas.addEventListener("click", (event) => {
    if (!shown) return;
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, nearest = Infinity;
    for (let i = 0; i < shown.x.length; i++) {
      const d = (shown.px(shown.x[i]) - x) ** 2 + (shown.py(shown.y[i]) - y) ** 2;
      if (d < nearest) { nearest = d; best = i; }
    }
    open(best);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!shown || !step) return;
    event.preventDefault();
    const now = place();
    open(now < 0 ? 0 : now + step);
  });
  new ResizeObserver(() => draw()).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
