// The panels of one or two pairs: one zoom and one marked pixel for all of them.

import { at, made } from "./elements.js";
import * as drawing from "./drawing.js";
import { change, state } from "./state.js";

export const LAYERS = [
  // name, text, shape of the swatch, colour, panels on which it is drawn besides images and the difference
  ["top_u", "S, top k of the unperturbed map", "", "unperturbed", "unperturbed"],
  ["top_p", "T, top k of the perturbed map", "", "perturbed", "perturbed"],
  ["near_u", "N(S), within w of S", "full", "near", "unperturbed"],
  ["near_p", "N(T), within w of T", "full", "top", "perturbed"],
  ["diverse_u", "diverse S", "round", "unperturbed", "unperturbed"],
  ["diverse_p", "diverse T", "round", "perturbed", "perturbed"],
];
const TITLES = {
  image: "image", image_perturbed: "perturbed image", unperturbed: "unperturbed map",
  perturbed: "perturbed map", difference: "difference, perturbed − unperturbed", sets: "the sets alone",
};
const MOST_ZOOM = 64;

const pairs = []; // {key, title, facts, maps, images, pictures, sets, paths}
let colours = {}, marked = null, drawing_ = false;

export function begin(given) { colours = given; }
export const shownPairs = () => pairs.filter(Boolean);

// Shows a pair in the first or the second place; null empties it.
export function show(place, pair) {
  if (pair) {
    const { width, height } = pair.facts;
    pair.pictures = {
      unperturbed: drawing.mapPicture(pair.maps[0], width, height, pair.facts.range, colours),
      perturbed: drawing.mapPicture(pair.maps[1], width, height, pair.facts.range, colours),
      difference: drawing.differencePicture(pair.maps[0], pair.maps[1], width, height, pair.facts.difference, colours),
    };
    ["image", "image_perturbed"].forEach((name, i) => {
      if (pair.images[i]) pair.pictures[name] = drawing.imagePicture(pair.images[i], pair.facts.images[i]);
    });
    pair.sets = null;
    pair.paths = {};
  }
  pairs[place] = pair;
  layOut();
  redraw();
}

export function setSets(place, sets) {
  const pair = pairs[place];
  if (!pair) return;
  const { width, height } = pair.facts;
  pair.sets = sets;
  pair.paths = {};
  pair.pictures.sets = null;
  if (sets) {
    pair.pictures.sets = drawing.setsPicture(sets, width, height, colours);
    const missed = sets.top_p.map((inside, i) => inside && !sets.near_u[i]);
    pair.paths.missed = drawing.crosses(missed, width);
  }
  redraw();
}

function path(pair, name) {
  const { width, height } = pair.facts;
  if (!pair.paths[name]) {
    const mask = pair.sets[name];
    if (name.startsWith("top")) pair.paths[name] = drawing.outline(mask, width, height);
    else if (name.startsWith("diverse")) pair.paths[name] = drawing.rings(mask, width);
    else pair.paths[name] = drawing.area(mask, width, height, name === "near_u" ? colours.near : colours.top);
  }
  return pair.paths[name];
}

function layOut() {
  const names = (pair) => Object.keys(TITLES).filter((name) => pair.pictures[name] || name === "sets");
  const key = JSON.stringify(pairs.map((pair) => pair && [pair.title, pair.facts.width, pair.facts.height, names(pair)]));
  const holder = at("panels");
  if (holder.dataset.key === key) return;
  holder.dataset.key = key;
  sizes.disconnect();
  holder.replaceChildren();
  holder.classList.toggle("four", pairs.every((pair) => !pair || names(pair).length === 4));
  pairs.forEach((pair, place) => {
    if (!pair) return;
    holder.append(made("h3", { textContent: pairs[1] ? pair.title : "" }));
    for (const name of names(pair)) {
      const canvas = made("canvas", { attributes: { role: "img", "aria-label": `${TITLES[name]}${pairs[1] ? `, ${pair.title}` : ""}` } });
      canvas.dataset.place = place;
      canvas.dataset.panel = name;
      canvas.style.aspectRatio = `${pair.facts.width} / ${Math.max(pair.facts.height, pair.facts.width / 8)}`;
      if (pair.facts.height > pair.facts.width) canvas.style.maxHeight = "70vh";
      holder.append(made("figure", {}, canvas, made("figcaption", { textContent: TITLES[name] })));
      sizes.observe(canvas);
    }
  });
}

const sizes = new ResizeObserver(() => redraw());

// Where the view is: the point of the map in the middle, from 0 to 1, and how much larger than whole it is drawn.
export function view() {
  const [x, y, s] = state.zoom.split(",").map(Number);
  return s > 1 && s <= MOST_ZOOM && x >= 0 && x <= 1 && y >= 0 && y <= 1 ? { x, y, s } : { x: 0.5, y: 0.5, s: 1 };
}

function look(x, y, s) {
  s = Math.min(Math.max(s, 1), MOST_ZOOM);
  const margin = 0.5 / s;
  const within = (v) => Math.min(Math.max(v, margin), 1 - margin).toFixed(4);
  change({ zoom: s === 1 ? "" : `${within(x)},${within(y)},${+s.toFixed(3)}` });
}

export function zoom(factor, around = null) {
  const v = view(), s = Math.min(Math.max(v.s * factor, 1), MOST_ZOOM);
  const p = around ?? (marked ? { x: (marked.x + 0.5) / size().width, y: (marked.y + 0.5) / size().height } : v);
  // The point around which one zooms keeps its place on the screen.
  look(p.x + ((v.x - p.x) * v.s) / s, p.y + ((v.y - p.y) * v.s) / s, s);
}

export const whole = () => change({ zoom: "" });
const size = () => shownPairs()[0]?.facts ?? { width: 1, height: 1 };

function scale(canvas, { width, height }, v) {
  const p = Math.min(canvas.width / width, canvas.height / height) * v.s;
  return { p, x: canvas.width / 2 - v.x * width * p, y: canvas.height / 2 - v.y * height * p };
}

export function redraw() {
  if (drawing_) return;
  drawing_ = true;
  requestAnimationFrame(() => {
    drawing_ = false;
    at("panels").classList.toggle("zoomed", view().s > 1);
    for (const canvas of at("panels").querySelectorAll("canvas")) draw(canvas);
    tellPixel();
  });
}

function draw(canvas) {
  const pair = pairs[canvas.dataset.place], panel = canvas.dataset.panel;
  if (!pair) return;
  const wide = Math.round(canvas.clientWidth * devicePixelRatio), high = Math.round(canvas.clientHeight * devicePixelRatio);
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, wide, high);
  const { width, height } = pair.facts, t = scale(canvas, pair.facts, view());
  context.setTransform(t.p, 0, 0, t.p, t.x, t.y);
  context.imageSmoothingEnabled = false;
  const picture = pair.pictures[panel];
  if (picture) context.drawImage(picture, 0, 0, width, height);
  const line = Math.min(Math.max(0.24 * t.p, 1), 4) / t.p;
  if (panel === "sets") drawSets(context, pair, line, t);
  else drawLayers(context, pair, panel, line);
  if (marked) {
    context.lineWidth = 2 / t.p;
    context.strokeStyle = "#000";
    context.strokeRect(marked.x - 1 / t.p, marked.y - 1 / t.p, 1 + 2 / t.p, 1 + 2 / t.p);
    context.strokeStyle = "#fff";
    context.lineWidth = 1 / t.p;
    context.strokeRect(marked.x - 2 / t.p, marked.y - 2 / t.p, 1 + 4 / t.p, 1 + 4 / t.p);
  }
}

function drawSets(context, pair, line, t) {
  if (!pair.sets) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.font = `${13 * devicePixelRatio}px sans-serif`;
    context.textAlign = "center";
    if (pair.sets === false) context.fillText("no sets: a map has no order", context.canvas.width / 2, context.canvas.height / 2);
    return;
  }
  context.lineWidth = line;
  context.strokeStyle = colours.unperturbed;
  context.stroke(path(pair, "top_u"));
  if (t.p > 4) {
    context.lineWidth = line / 1.5;
    context.strokeStyle = "#000";
    context.stroke(pair.paths.missed);
  }
}

function drawLayers(context, pair, panel, line) {
  if (!pair.sets) return;
  const chosen = new Set(state.layers.split(","));
  const { width, height } = pair.facts;
  for (const kind of ["near", "top", "diverse"]) {
    for (const [name, , , colour, side] of LAYERS) {
      const fits = panel === side || (panel !== "unperturbed" && panel !== "perturbed");
      if (!name.startsWith(kind) || !chosen.has(name) || !fits) continue;
      context.lineWidth = line;
      context.strokeStyle = colours[colour];
      if (kind === "near") { context.globalAlpha = 0.7; context.drawImage(path(pair, name), 0, 0, width, height); context.globalAlpha = 1; continue; }
      if (kind === "diverse") { context.fillStyle = colours.paper; context.fill(path(pair, name)); }
      context.stroke(path(pair, name));
    }
  }
}

// The marked pixel: that under the pointer, or the one that the arrows have reached.
function mark(x, y) {
  const { width, height } = size();
  marked = { x: Math.min(Math.max(x, 0), width - 1), y: Math.min(Math.max(y, 0), height - 1) };
  redraw();
}

const number = (value) => (Number.isFinite(value) ? (value === 0 ? "0" : value.toPrecision(5)) : String(value));

function tellPixel() {
  const holder = at("pixel");
  if (!marked || !shownPairs().length) return;
  const { x, y } = marked;
  const parts = shownPairs().map((pair) => {
    if (x >= pair.facts.width || y >= pair.facts.height) return "";
    const i = y * pair.facts.width + x, [u, p] = [pair.maps[0][i], pair.maps[1][i]];
    const inside = pair.sets ? LAYERS.filter(([name]) => pair.sets[name][i]).map(([, text]) => text.split(",")[0]) : [];
    return `${pairs[1] ? `${pair.title}: ` : ""}unperturbed ${number(u)}, perturbed ${number(p)}, difference ${number(p - u)}${inside.length ? `, in ${inside.join(", ")}` : ""}`;
  });
  const text = `Row ${y}, column ${x}. ${parts.filter(Boolean).join(". ")}.`;
  if (holder.textContent !== text) holder.textContent = text;
}

function pixelAt(event) {
  const canvas = event.target.closest?.("canvas"), pair = canvas && pairs[canvas.dataset.place];
  if (!pair) return null;
  const box = canvas.getBoundingClientRect(), t = scale(canvas, pair.facts, view());
  const x = (((event.clientX - box.left) * canvas.width) / box.width - t.x) / t.p;
  const y = (((event.clientY - box.top) * canvas.height) / box.height - t.y) / t.p;
  return { x, y, canvas, pair, p: t.p };
}

export function listen() {
  const holder = at("panels");
  let dragged = null;
  // The fingers on a panel, where they are now; two of them zoom.
  const fingers = new Map();
  const apart = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  holder.addEventListener("pointermove", (event) => {
    const found = pixelAt(event);
    if (!found) return;
    if (fingers.size === 2 && fingers.has(event.pointerId)) {
      const before = apart();
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (before > 0) zoom(apart() / before, { x: found.x / found.pair.facts.width, y: found.y / found.pair.facts.height });
    } else if (dragged) {
      const v = dragged.view, ratio = devicePixelRatio;
      look(v.x - ((event.clientX - dragged.x) * ratio) / (dragged.p * dragged.width),
        v.y - ((event.clientY - dragged.y) * ratio) / (dragged.p * dragged.height), v.s);
    } else if (found.x >= 0 && found.y >= 0 && found.x < found.pair.facts.width && found.y < found.pair.facts.height) {
      mark(Math.floor(found.x), Math.floor(found.y));
    }
  });
  holder.addEventListener("pointerdown", (event) => {
    const found = pixelAt(event);
    if (!found) return;
    found.canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "touch") fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    dragged = { x: event.clientX, y: event.clientY, view: view(), p: found.p, ...{ width: found.pair.facts.width, height: found.pair.facts.height } };
  });
  for (const name of ["pointerup", "pointercancel"]) holder.addEventListener(name, (event) => { dragged = null; fingers.delete(event.pointerId); });
  // A wheel over a panel scrolls the page, as everywhere; with Ctrl, or where one has zoomed in, it zooms.
  holder.addEventListener("wheel", (event) => {
    const found = pixelAt(event);
    if (!found || !(event.ctrlKey || event.metaKey || view().s > 1)) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), { x: found.x / found.pair.facts.width, y: found.y / found.pair.facts.height });
  }, { passive: false });
  holder.addEventListener("dblclick", (event) => {
    const found = pixelAt(event);
    if (found) zoom(2, { x: found.x / found.pair.facts.width, y: found.y / found.pair.facts.height });
  });
  holder.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step && event.shiftKey) {
      const v = view();
      look(v.x + (0.1 * step[0]) / v.s, v.y + (0.1 * step[1]) / v.s, v.s);
    } else if (step) {
      const { width, height } = size();
      const from = marked ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
      mark(from.x + step[0], from.y + step[1]);
      const v = view();
      if (v.s > 1) look(Math.abs(marked.x / width - v.x) > 0.45 / v.s ? marked.x / width : v.x, Math.abs(marked.y / height - v.y) > 0.45 / v.s ? marked.y / height : v.y, v.s);
    } else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") whole();
    else return;
    event.preventDefault();
  });
}
