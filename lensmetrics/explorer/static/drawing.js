// From numbers to pictures: maps in greys, differences in two colours, sets as outlines, areas and rings.

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const mix = (a, b, t) => a.map((v, i) => v + (b[i] - v) * t);

function painted(width, height, colour) {
  const picture = new ImageData(width, height);
  const bytes = picture.data;
  for (let i = 0; i < width * height; i++) {
    const [r, g, b, a = 255] = colour(i);
    bytes[4 * i] = r; bytes[4 * i + 1] = g; bytes[4 * i + 2] = b; bytes[4 * i + 3] = a;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

// 256 colours from one to another, of which a value from 0 to 1 takes one.
const ramp = (from, to) => Array.from({ length: 256 }, (_, i) => mix(from, to, i / 255));

export function mapPicture(values, width, height, [low, high], colours) {
  const greys = ramp(rgb(colours.paper), rgb(colours.dark)), bad = rgb(colours.not_finite);
  const span = high / 2 - low / 2 || 0.5; // halves, because the range itself may exceed the type
  return painted(width, height, (i) => {
    const value = values[i];
    if (!Number.isFinite(value)) return bad;
    const t = (value / 2 - low / 2) / span;
    return greys[Math.round(255 * Math.min(Math.max(t, 0), 1))];
  });
}

export function differencePicture(before, after, width, height, strongest, colours) {
  const paper = rgb(colours.paper), bad = rgb(colours.not_finite);
  const less = ramp(paper, rgb(colours.unperturbed)), more = ramp(paper, rgb(colours.perturbed));
  return painted(width, height, (i) => {
    const d = after[i] - before[i];
    if (!Number.isFinite(before[i]) || !Number.isFinite(after[i])) return bad;
    const t = Math.min(Math.abs(d) / (strongest || 1), 1);
    return (d < 0 ? less : more)[Math.round(255 * t)];
  });
}

export function imagePicture(bytes, [height, width, n = 1]) {
  return painted(width, height, (i) => [bytes[n * i], bytes[n * i + (n > 1)], bytes[n * i + 2 * (n > 1)]]);
}

// Masks of one bit per pixel, one after the other, in the order of `names`.
export function unpacked(buffer, names, n) {
  const bytes = new Uint8Array(buffer), length = Math.ceil(n / 8);
  if (!bytes.length) return null;
  return Object.fromEntries(names.map((name, at) => {
    const mask = new Uint8Array(n);
    for (let i = 0; i < n; i++) mask[i] = (bytes[at * length + (i >> 3)] >> (i & 7)) & 1;
    return [name, mask];
  }));
}

// The border of a set along the edges of its pixels.
export function outline(mask, width, height) {
  const path = new Path2D();
  const has = (x, y) => x >= 0 && x < width && y >= 0 && y < height && mask[y * width + x] === 1;
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (has(x, y) !== has(x, y - 1) && x < width) { path.moveTo(x, y); path.lineTo(x + 1, y); }
      if (has(x, y) !== has(x - 1, y) && y < height) { path.moveTo(x, y); path.lineTo(x, y + 1); }
    }
  }
  return path;
}

export function area(mask, width, height, hex, alpha) {
  const [r, g, b] = rgb(hex);
  return painted(width, height, (i) => [r, g, b, mask[i] ? Math.round(255 * alpha) : 0]);
}

export function rings(mask, width) {
  const path = new Path2D();
  mask.forEach((inside, i) => {
    if (!inside) return;
    const x = (i % width) + 0.5, y = Math.floor(i / width) + 0.5;
    path.moveTo(x + 0.31, y);
    path.arc(x, y, 0.31, 0, 7);
  });
  return path;
}

export function crosses(mask, width) {
  const path = new Path2D();
  mask.forEach((inside, i) => {
    if (!inside) return;
    const x = (i % width) + 0.5, y = Math.floor(i / width) + 0.5;
    path.moveTo(x - 0.28, y - 0.28); path.lineTo(x + 0.28, y + 0.28);
    path.moveTo(x - 0.28, y + 0.28); path.lineTo(x + 0.28, y - 0.28);
  });
  return path;
}

// What the figures of the package draw as "the sets": N_w(S) light, T filled, S outlined, crosses on what is missed.
export function setsPicture(sets, width, height, colours) {
  const paper = rgb(colours.paper), near = rgb(colours.near), top = rgb(colours.top);
  return painted(width, height, (i) => (sets.top_p[i] ? top : sets.near_u[i] ? near : paper));
}
