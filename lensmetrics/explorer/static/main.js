// The page: what is shown follows the fragment of the address, and every control changes only that.

import * as panels from "./panels.js";
import * as png from "./png.js";
import * as samples from "./samples.js";
import * as scatter from "./scatter.js";
import * as scores from "./scores.js";
import { unpacked } from "./drawing.js";
import { at, fill, made, short } from "./elements.js";
import { settle, tell } from "./problems.js";
import { latest, raw, told } from "./server.js";
import { change, follow, onChange, state } from "./state.js";

const FILTERS = ["only", "text", "status", "metric", "low", "high", "sort", "falling"];
let start = null, open = null, version = -1, opened = 0;

const isOpened = (name) => samples.fileOf(samples.numberOf(name))?.samples !== undefined;
const isReady = () => isOpened(state.file);

async function load(file, position) {
  const place = { file, position };
  const facts = await told("sample", place);
  const [maps, images] = await Promise.all([
    raw("maps", place), facts.images.some(Boolean) ? raw("images", place) : new ArrayBuffer(0),
  ]);
  const n = facts.width * facts.height;
  const Floats = facts.dtype === "float64" ? Float64Array : Float32Array;
  let from = 0;
  const pictures = facts.images.map((shape) => {
    if (!shape) return null;
    const length = shape.reduce((a, b) => a * b);
    from += length;
    return new Uint8Array(images, from - length, length);
  });
  return { file, position, facts, images: pictures, maps: [new Floats(maps, 0, n), new Floats(maps, n * Floats.BYTES_PER_ELEMENT, n)] };
}

// Opens the sample of the address, and the same sample of the condition beside it.
const openSample = latest("sample", async ({ name, file, position, beside }, isLast) => {
  if (file < 0) throw new Error(`There is no file ${name} here: start explore over the files of the link.`);
  const first = await load(file, position);
  let second = null, lacking = null;
  try {
    const twin = twinOf(first, beside);
    if (twin) second = await load(twin.file, twin.position);
  } catch (error) {
    lacking = error;
  }
  if (!isLast()) return;
  settle("beside", "plain");
  if (lacking) tell("beside", lacking);
  at("shown").hidden = false;
  open = [first, ...(second ? [second] : [])];
  for (const pair of open) {
    const { label, name } = samples.fileOf(pair.file);
    const { sample, name: own } = pair.facts.facts;
    Object.assign(pair, { title: label, fileName: name, sample, python: pair.facts.python, flags: pair.facts.flags });
    pair.caption = `${label}, sample ${sample}${own === undefined ? "" : ` (${short(own)})`}`;
  }
  describe(first);
  scores.limit(first.facts.width, first.facts.height, samples.fileOf(file).k);
  if (!state.k) change({ k: samples.fileOf(file).k });
  scores.show(open);
  samples.mark();
  panels.show(0, first);
  panels.show(1, second);
  for (const pair of open) {
    told("plain", { file: pair.file, position: pair.position }).then((plain) => {
      pair.plain = plain;
      if (open?.includes(pair)) scores.tellPlain(open.indexOf(pair));
    }).catch((error) => { if (open?.includes(pair)) tell("plain", error); });
  }
}, () => {
  open = null;
  settle("beside", "plain", "scores", "sets");
  at("shown").hidden = true;
  const file = samples.fileOf(samples.numberOf(state.file));
  at("pair-title").textContent = file ? `${file.label}, position ${state.position}` : "No sample is open";
  at("facts").textContent = "";
  at("notes").hidden = true;
  delete document.body.dataset.shown;
});

// Where the file beside holds the sample; null where none is wanted or it is not opened yet.
function twinOf(pair, name) {
  const twin = pair.facts.twins.find((t) => t.file === samples.numberOf(name));
  if (twin || !name) return twin ?? null;
  const file = samples.fileOf(samples.numberOf(name));
  if (!file) throw new Error(`There is no file ${name} here to show beside it: choose another one.`);
  if (file.is_bad) throw new Error(`Nothing is shown beside it. ${file.notes[0]}`);
  if (file.samples !== undefined) throw new Error(`Nothing is shown beside it: ${name} does not hold this sample.`);
  return null;
}

// The same sample may be in files that are opened later.
async function findTwins() {
  const pair = open?.[0];
  if (!pair) return;
  const { twins } = await told("sample", { file: pair.file, position: pair.position });
  if (open?.[0] !== pair) return;
  pair.facts.twins = twins;
  describe(pair);
  if (open.length === 1 && state.beside && isOpened(state.beside)) openAsked();
}

function describe(pair) {
  at("pair-title").textContent = pair.caption;
  at("pair-title").title = pair.facts.facts.name ?? "";
  const notes = open.flatMap((p) => p.facts.notes.map((note) => (open.length > 1 ? `${p.title}: ${note}` : note)));
  at("notes").hidden = !notes.length;
  at("notes").textContent = notes.join("\n");
  document.title = `${pair.caption} – lensmetrics explore`;
  const file = samples.fileOf(pair.file);
  const facts = Object.entries(pair.facts.facts).filter(([name]) => name !== "sample" && name !== "name").map(([name, value]) => `${name} ${value}`);
  at("facts").textContent = [`${file.name}, ${pair.facts.height}x${pair.facts.width}`, ...facts, ...file.conditions].join(", ");
  const options = pair.facts.twins.map((t) => [samples.fileOf(t.file).name, samples.fileOf(t.file).label]);
  fill(at("beside"), [["", options.length ? "nothing" : "no other file holds this sample"], ...options], state.beside);
}

const sets = latest("sets", async ({ pairs, k, w }) => {
  const found = await Promise.all(pairs.map((p) => raw("layers", { file: p.file, position: p.position, k, w })));
  if (pairs !== open) return;
  found.forEach((bits, place) => {
    const { width, height } = pairs[place].facts;
    panels.setSets(place, unpacked(bits, start.layers, width * height) ?? false);
  });
  document.body.dataset.sets = `${k},${w}`;
});

// Drawing takes longer than counting: sets follow when the sliders rest, and now and then while they move.
const REST = 50, LONGEST = 200;
let drawing = 0, since = 0;

function askSets() {
  const now = performance.now();
  since ||= now;
  clearTimeout(drawing);
  drawing = setTimeout(() => {
    since = 0;
    if (open) sets({ pairs: open, ...scores.sizes() });
  }, Math.min(REST, Math.max(0, since + LONGEST - now)));
}

function openAsked() {
  if (!samples.allFiles().length) return; // the server has not yet said which there are
  const file = samples.numberOf(state.file);
  if (!state.file) {
    const first = samples.allFiles().find((f) => f.samples);
    if (first) change({ file: first.name });
  } else if (file < 0 || isReady() || samples.fileOf(file).is_bad) {
    openSample({ name: state.file, file, position: state.position, beside: state.beside });
  }
}

function followed(changed) {
  const has = (...names) => names.some((name) => changed.has(name));
  for (const name of ["text", "low", "high"]) if (document.activeElement !== at(name)) at(name).value = state[name];
  for (const name of ["only", "status", "beside"]) if (at(name).value !== state[name]) at(name).value = state[name];
  if (has("layers")) showLayers();
  if (!start) return;
  if (has("file", "position", "beside")) openAsked();
  else if (has("k", "w")) scores.ask();
  if (has("zoom", "layers")) panels.redraw();
  if (has(...FILTERS)) { samples.refresh(has("sort", "falling", "metric") && changed.size < 4 ? 0 : null); scatter.refresh(); }
  else if (has("file", "position")) { samples.mark(); scatter.draw(); }
  if (has("metric")) at("metric").value = samples.metric();
  if (has("x", "y")) scatter.refresh();
}

function showLayers() {
  const chosen = new Set(state.layers.split(","));
  for (const box of at("layers").querySelectorAll("input")) box.checked = chosen.has(box.value);
}

function makeLayers(colours) {
  for (const [value, text, shape, colour] of panels.LAYERS) {
    const box = made("input", { type: "checkbox", value });
    const swatch = made("span", { className: `swatch ${shape}`, attributes: { "aria-hidden": "true" } });
    if (shape === "full") swatch.style.background = colours[colour];
    else swatch.style.borderColor = colours[colour];
    at("layers").append(made("label", {}, box, swatch, text));
  }
  at("layers").addEventListener("change", () => {
    change({ layers: [...at("layers").querySelectorAll("input:checked")].map((box) => box.value).join(",") || "none" });
  });
  showLayers();
  const lines = [
    "Both maps are on one scale of greys, from the smallest value, white, to the 99.5 % quantile of both, dark. Pixels that are not finite are yellow.",
    "The difference is blue where the perturbed map is lower and orange where it is higher; the strongest colour is the 99.5 % quantile of its size.",
    "The sets alone: N(S), the pixels within w of S, is light blue, T is filled orange, S is outlined, and a cross marks pixels of T outside N(S).",
    "Drag to move the view, double-click, spread two fingers, or hold Ctrl and turn the wheel to zoom. All panels follow.",
  ];
  at("legend").replaceChildren(...lines.map((text) => made("p", { className: "soft", textContent: text })));
}

function tellProgress(told_) {
  const n = told_.files.length, parts = [];
  if (told_.opened < n) parts.push(`opened ${told_.opened} of ${n} files`);
  if (!told_.compiled) parts.push("compiling");
  if (told_.scored && told_.scored[0] < told_.scored[1]) parts.push(`scored ${told_.scored[0]} of ${told_.scored[1]} samples`);
  const text = parts.join(", ") || "ready";
  // Only the end is read aloud.
  if (text === "ready") at("progress").setAttribute("role", "status");
  if (at("progress").textContent !== text) at("progress").textContent = text;
}

async function watch() {
  try {
    const found = await told("state");
    const before = isReady();
    tellProgress(found);
    if (found.version !== version || found.done) {
      version = found.version;
      samples.tell(found, found.statuses);
      if (!open && (!before || !state.file)) openAsked();
      else if (found.opened > opened) await findTwins();
      opened = found.opened;
      samples.again();
      scatter.refresh();
    }
    if (found.done) { document.body.dataset.done = "true"; return; }
    setTimeout(watch, found.opened < found.files.length ? 250 : 1000);
  } catch (error) {
    tell("server", error);
  }
}

async function begin() {
  try {
    start = await told("start");
  } catch (error) {
    tell("server", error);
    return;
  }
  panels.begin(start.colours);
  scores.begin(start, askSets);
  makeLayers(start.colours);
  for (const part of [panels, scores, samples, scatter]) part.listen();
  at("shown").hidden = true;
  at("to-sample").addEventListener("click", () => { at("pair-title").focus({ preventScroll: true }); at("pair").scrollIntoView(); });
  at("beside").addEventListener("change", () => change({ beside: at("beside").value }));
  at("zoom-in").addEventListener("click", () => panels.zoom(1.5));
  at("zoom-out").addEventListener("click", () => panels.zoom(1 / 1.5));
  at("zoom-reset").addEventListener("click", panels.whole);
  at("png").addEventListener("click", () => png.save().then(() => settle("png"), (error) => tell("png", error)));
  at("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(at("python").textContent).then(
      () => { at("copied").textContent = "copied"; },
      () => { at("copied").textContent = "the browser does not allow it: select the lines"; },
    );
  });
  onChange(followed);
  follow();
  // Where the sample stands below the table, the way to it is short.
  at("filters-part").open = matchMedia("(min-width: 62rem)").matches || FILTERS.slice(0, 6).some((name) => state[name]);
  watch();
}

begin();
