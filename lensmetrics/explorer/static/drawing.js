// From numbers to pictures: maps in greys, differences in two colours, sets as outlines, areas and rings.

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
// A colour as one number, in the order of bytes of a picture.
const packed = ([r, g, b], alpha = 255) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
const coloured = (hex, alpha) => packed(rgb(hex), alpha);

// Calls `write` with the pixels of a new picture, a number each, and returns a canvas of it.
function painted(width, height, write) {
  const picture = new ImageData(width, height);
  write(new Uint32Array(picture.data.buffer));
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

// 256 colours from one to another, of which a value from 0 to 1 takes one.
function ramp(from, to) {
  const a = rgb(from), b = rgb(to);
  return Uint32Array.from({ length: 256 }, (_, i) => packed(a.map((v, c) => Math.round(v + ((b[c] - v) * i) / 255))));
}

export function mapPicture(values, width, height, [low, high], colours) {
  const greys = ramp(colours.paper, colours.dark), bad = coloured(colours.not_finite);
  const span = high / 2 - low / 2 || 0.5; // halves, because the range itself may exceed the type
  return painted(width, height, (pixels) => {
    for (let i = 0; i < pixels.length; i++) {
      const t = (values[i] / 2 - low / 2) / span;
      pixels[i] = Number.isFinite(values[i]) ? greys[t > 1 ? 255 : t > 0 ? Math.round(255 * t) : 0] : bad;
    }
  });
}

export function differencePicture(before, after, width, height, strongest, colours) {
  const less = ramp(colours.paper, colours.unperturbed), more = ramp(colours.paper, colours.perturbed);
  const bad = coloured(colours.not_finite), most = strongest || 1;
  return painted(width, height, (pixels) => {
    for (let i = 0; i < pixels.length; i++) {
      const d = after[i] - before[i], t = Math.min(Math.abs(d) / most, 1);
      const known = Number.isFinite(before[i]) && Number.isFinite(after[i]);
      pixels[i] = known ? (d < 0 ? less : more)[Math.round(255 * t)] : bad;
    }
  });
}

export function imagePicture(bytes, [height, width, n = 1]) {
  const step = n > 1 ? 1 : 0;
  return painted(width, height, (pixels) => {
    for (let i = 0; i < pixels.length; i++) {
      pixels[i] = packed([bytes[n * i], bytes[n * i + step], bytes[n * i + 2 * step]]);
    }
  });
}

// Masks of one bit per pixel, one after the other, in the order of `names`.
export function unpacked(buffer, names, n) {
  const bytes = new Uint8Array(buffer), length = Math.ceil(n / 8);
  if (!bytes.length) return null;
  return Object.fromEntries(names.map((name, at) => {
    const mask = new Uint8Array(n);
    for (let byte = 0, from = at * length; byte < length; byte++) {
      const bits = bytes[from + byte];
      if (bits) for (let bit = 0; bit < 8; bit++) mask[8 * byte + bit] = (bits >> bit) & 1; // past the end is ignored
    }
    return [name, mask];
  }));
}

// The border of a set along the edges of its pixels.
export function outline(mask, width, height) {
  const path = new Path2D();
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      const i = y * width + x, inside = x < width && y < height && mask[i];
      const above = x < width && y > 0 && mask[i - width], before = y < height && x > 0 && mask[i - 1];
      if (!inside !== !above) { path.moveTo(x, y); path.lineTo(x + 1, y); }
      if (!inside !== !before) { path.moveTo(x, y); path.lineTo(x, y + 1); }
    }
  }
  return path;
}

export function area(mask, width, height, hex) {
  const colour = coloured(hex);
  return painted(width, height, (pixels) => { for (let i = 0; i < pixels.length; i++) if (mask[i]) pixels[i] = colour; });
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
  const paper = coloured(colours.paper), near = coloured(colours.near), top = coloured(colours.top);
  return painted(width, height, (pixels) => {
    for (let i = 0; i < pixels.length; i++) pixels[i] = sets.top_p[i] ? top : sets.near_u[i] ? near : paper;
  });
}
