// What is shown, as the fragment of the address: a copy of it opens the same view in any run over the same files.

export const DEFAULTS = {
  file: "", position: "0", beside: "", k: "", w: "1", layers: "top_u,top_p", zoom: "",
  only: "", text: "", status: "", metric: "", low: "", high: "", sort: "file", falling: "", x: "", y: "",
};

export const state = { ...DEFAULTS };
const listeners = [];

export function onChange(listener) { listeners.push(listener); }

export function fragment(changes = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...state, ...changes })) {
    if (value !== DEFAULTS[name]) words.set(name, value);
  }
  return `#${words}`;
}

// Browsers stop listening to addresses that change more often than some ten times a second.
const REST = 150, STEP = 1000;
let writing = 0, stepped = 0;

// Changes what is shown. Opening another sample is a step that Back undoes; moving a slider is none, nor is
// each of many samples through which one runs.
export function change(changes, { step = false } = {}) {
  const before = { ...state };
  for (const [name, value] of Object.entries(changes)) state[name] = String(value);
  if (Object.keys(state).every((name) => state[name] === before[name])) return;
  clearTimeout(writing);
  const now = performance.now();
  if (step && now - stepped > STEP) {
    stepped = now;
    history.pushState(null, "", fragment());
  } else {
    writing = setTimeout(() => history.replaceState(null, "", fragment()), REST);
  }
  tell(before);
}

function read() {
  clearTimeout(writing);
  const before = { ...state };
  const words = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(DEFAULTS)) state[name] = words.get(name) ?? DEFAULTS[name];
  tell(before);
}

function tell(before) {
  const changed = new Set(Object.keys(state).filter((name) => state[name] !== before[name]));
  if (changed.size) for (const listener of listeners) listener(changed);
}

export function follow() {
  addEventListener("hashchange", read);
  addEventListener("popstate", read);
  read();
}
