// What went wrong, by cause: a sentence stays on the page as long as its cause does.

import { at } from "./elements.js";

const sentences = new Map();

function show() {
  at("problem").textContent = [...new Set(sentences.values())].join("\n");
  at("problem").hidden = !sentences.size;
}

export function tell(cause, error) {
  sentences.set(cause, error.message);
  show();
}

export function settle(...causes) {
  for (const cause of causes) sentences.delete(cause);
  show();
}
