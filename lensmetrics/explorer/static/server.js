// Questions to the server, and its sentences where it cannot answer.

import { settle, tell } from "./problems.js";

export class Refused extends Error {}

async function answer(path, asked, signal) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(asked ?? {})) {
    if (value !== "" && value !== null && value !== undefined) words.set(name, value);
  }
  const query = words.size ? `?${words}` : "";
  let found;
  try {
    found = await fetch(path + query, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server has ended: start lensmetrics explore again, and add what follows # to its address.");
  }
  if (!found.ok) {
    const told = await found.json().catch(() => ({}));
    throw new Refused(told.error ?? `The server answered with status ${found.status}.`);
  }
  return found;
}

export const told = async (path, asked, signal) => (await answer(path, asked, signal)).json();
export const raw = async (path, asked, signal) => (await answer(path, asked, signal)).arrayBuffer();

export async function points(asked, signal) {
  const found = await answer("points", asked, signal);
  const body = await found.arrayBuffer();
  const n = body.byteLength / 24;
  return {
    total: Number(found.headers.get("x-total")),
    x: new Float64Array(body, 0, n),
    y: new Float64Array(body, 8 * n, n),
    file: new Int32Array(body, 16 * n, n),
    position: new Int32Array(body, 20 * n, n),
  };
}

// Runs one call at a time; of those asked for meanwhile, only the last one follows. The page shows the sentence
// of a failure under its cause until a later call succeeds.
export function latest(cause, work, failed = () => {}) {
  let running = false, next = null;
  return async function ask(argument) {
    next = { argument };
    if (running) return;
    running = true;
    while (next) {
      const { argument: given } = next;
      next = null;
      try {
        await work(given, () => next === null);
        if (!next) settle(cause);
      } catch (error) {
        if (next) continue;
        failed();
        tell(cause, error);
      }
    }
    running = false;
  };
}
