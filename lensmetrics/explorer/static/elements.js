// Small ways to make elements; texts are always texts, never markup.

export const at = (id) => document.getElementById(id);

export function made(tag, properties = {}, ...children) {
  const { attributes = {}, ...others } = properties;
  const element = Object.assign(document.createElement(tag), others);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Names of samples can be of any length.
export const short = (text, most = 80) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Fills a select with [value, text] and keeps its choice; does nothing where they are there already.
export function fill(select, options, value) {
  const key = JSON.stringify(options);
  if (select.dataset.options !== key) {
    select.dataset.options = key;
    select.replaceChildren(...options.map(([v, text]) => made("option", { value: v, textContent: text })));
  }
  select.value = value;
  if (select.selectedIndex < 0 && value !== "") {
    // A link may name what this run does not (yet) know.
    select.append(made("option", { value, textContent: value }));
    delete select.dataset.options;
    select.value = value;
  }
}
