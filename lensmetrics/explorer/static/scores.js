// Sliders, and the numbers that follow them.

import { at, made } from "./elements.js";
import { latest, told } from "./server.js";
import { change, state } from "./state.js";

let metrics = [], meanings = {}, whenShown = () => {};
let all = []; // the metrics of any pair; those of images are shown where a pair has both images
let pairs = []; // {title, file, position, plain, windowed}
const cells = new Map(); // metric -> the cells of each pair

// `onShown` is called when the numbers of the last wish are shown: sets come after numbers.
export function begin(start, onShown) {
  whenShown = onShown;
  all = metrics = [...start.windowed.map((m) => ({ ...m, moves: true })), ...start.plain];
  meanings = start.statuses;
  at("meanings").replaceChildren(...metrics.flatMap((m) => [
    made("dt", { textContent: m.title }), made("dd", { textContent: m.meaning }),
  ]));
}

// Slider and number of one size: the number may exceed the slider, whose end is where it matters most.
function sliderOf(name, limits) {
  const slider = at(name), number = at(`${name}-number`);
  const set = (value) => change({ [name]: value });
  slider.addEventListener("input", () => set(slider.value));
  number.addEventListener("change", () => {
    number.value = sized(number.value, limits());
    set(number.value);
  });
}

let largest = { k: 1, w: 0 }, usual = 1;
const limitsOf = { k: () => [1, largest.k, usual], w: () => [0, largest.w, 1] };

// A link may hold anything: what is no number becomes the usual size, and a number the nearest one that is allowed.
function sized(text, [low, high, otherwise]) {
  const value = text === "" || Number.isNaN(Number(text)) ? otherwise : Math.round(Number(text));
  return Math.min(Math.max(value, low), high);
}

export function listen() {
  sliderOf("k", limitsOf.k);
  sliderOf("w", limitsOf.w);
}

// The sliders end where almost every set is reached: a quarter of the pixels, and a tenth of the longer side.
export function limit(width, height, usualK) {
  usual = usualK;
  largest = { k: width * height, w: Math.max(width, height) };
  at("k").max = Math.max(1, Math.round(largest.k / 4));
  at("k-number").max = largest.k;
  at("w").max = Math.min(largest.w, Math.max(5, Math.round(largest.w / 10)));
  at("w-number").max = largest.w;
}

export const sizes = () => ({
  k: sized(state.k, limitsOf.k()), w: sized(state.w, limitsOf.w()),
});

export function showSizes() {
  const { k, w } = sizes();
  for (const [name, value] of [["k", k], ["w", w]]) {
    at(name).value = value;
    if (document.activeElement !== at(`${name}-number`)) at(`${name}-number`).value = value;
  }
}

export function show(given) {
  pairs = given;
  const hasBoth = pairs.some((pair) => pair.facts.images.every(Boolean));
  metrics = all.filter((m) => hasBoth || !m.name.startsWith("image_"));
  cells.clear();
  const heads = made("tr", {}, made("th", { textContent: "Score", attributes: { scope: "col" } }));
  for (const pair of pairs) {
    const title = pairs.length > 1 ? pair.title : "Value";
    heads.append(
      made("th", { textContent: title, className: "number", attributes: { scope: "col" } }),
      made("th", { textContent: "Chance", className: "number", attributes: { scope: "col" } }),
      made("td", {}),
    );
  }
  for (const element of [at("scores"), at("work")]) element.classList.toggle("two", pairs.length > 1);
  at("scores").tHead.replaceChildren(heads);
  at("scores").tBodies[0].replaceChildren(...metrics.map((m) => {
    const row = made("tr", {}, made("th", { textContent: m.title, title: m.meaning, attributes: { scope: "row" } }));
    const own = pairs.map(() => {
      const value = made("td", { className: "number value" }), chance = made("td", { className: "number chance" });
      const reached = made("i"), level = made("b");
      const bar = made("span", { className: "bar", hidden: true, attributes: { "aria-hidden": "true" } }, reached, level);
      row.append(value, chance, made("td", {}, bar));
      return { value, chance, bar, reached, level, bounded: m.bounds.join() === "0,1" };
    });
    cells.set(m.name, own);
    row.dataset.metric = m.name;
    return row;
  }));
  ask();
}

// Texts that stay are not written again, because each makes the browser lay out the page.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = (score) => score.problem ?? (score.value === null ? "undefined" : String(score.value));

function fill(place, scores) {
  for (const [name, score] of Object.entries(scores)) {
    const cell = cells.get(name)?.[place];
    if (!cell) continue;
    write(cell.value, score.text);
    cell.value.title = whole(score);
    write(cell.chance, score.chance ?? "");
    cell.bar.hidden = !cell.bounded || score.value === null;
    if (!cell.bar.hidden) {
      cell.reached.style.transform = `scaleX(${score.value})`;
      cell.level.hidden = !score.chance;
      cell.level.style.left = `calc(${100 * Number(score.chance ?? 0)}% - 1px)`;
    }
  }
}

// The scores that no slider changes, once they have come.
export function tellPlain(place) {
  fill(place, pairs[place].plain.scores);
  tellDigits();
  if (pairs.every((pair) => pair.windowed)) tellTokens();
}

// What pointing at a value shows too, for those who cannot point.
function tellDigits() {
  at("digits").textContent = pairs.map((pair) => {
    const found = { ...pair.windowed?.scores, ...pair.plain?.scores };
    const lines = metrics.filter((m) => found[m.name]).map((m) => `${m.title}: ${whole(found[m.name])}`);
    return (pairs.length > 1 ? [pair.title, ...lines] : lines).join("\n");
  }).join("\n\n");
}

const numbers = latest("scores", async ({ pairs: asked, k, w }, isLast) => {
  const found = await Promise.all(asked.map((p) => told("scores", { file: p.file, position: p.position, k, w })));
  if (asked !== pairs) return;
  found.forEach((answer, place) => {
    asked[place].windowed = answer;
    fill(place, answer.scores);
  });
  document.body.dataset.shown = `${k},${w}`;
  if (isLast()) whenShown();
  tellDigits();
  tellTokens();
  at("python").textContent = asked.map((p) => `${p.python}\n${p.windowed.python}`).join("\n\n");
  speak(k, w);
});

// Asks for the numbers of what is shown now; while an answer is on its way, only the last wish waits.
export function ask() {
  showSizes();
  if (pairs.length) numbers({ pairs, ...sizes() });
}

export const shown = () => ({ pairs, metrics, ...sizes() });

function tellTokens() {
  const found = pairs.map((pair) => [...new Set([...pair.flags, ...pair.windowed.status, ...(pair.plain?.status ?? [])])].sort());
  const holder = at("tokens");
  holder.replaceChildren();
  found.forEach((tokens, place) => {
    const title = pairs.length > 1 ? `Status of ${pairs[place].title}: ` : "Status: ";
    holder.append(made("strong", { textContent: title }), tokens.length ? "" : "ok. ");
    for (const token of tokens) holder.append(made("span", { textContent: `${token}. ${meanings[token] ?? ""} ` }));
  });
}

let speaking = 0;

// Read aloud once the sliders rest: a sentence for every step would never end.
function speak(k, w) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    if (!pairs.every((pair) => pair.windowed)) return; // another sample is on its way, and will speak
    const parts = pairs.map((pair) => {
      const { lens_recall: recall, topk_intersection: common } = pair.windowed.scores;
      const chance = recall.chance ? `, chance ${recall.chance}` : "";
      return `${pairs.length > 1 ? `${pair.title}: ` : ""}LENS recall ${recall.text}${chance}; top-k intersection ${common.text}`;
    });
    at("spoken").textContent = `k ${k}, w ${w}: ${parts.join(". ")}`;
  }, 500);
}
