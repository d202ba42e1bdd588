// The files, and the table of samples: filtered, sorted, and walked through by the arrows.

import { at, fill, made, short } from "./elements.js";
import { latest, told } from "./server.js";
import { change, fragment, state } from "./state.js";

const LIMIT = 50;
let files = [], columns = [], leading = "", contrasted = [], page = { total: 0, offset: 0, rows: [] };
let wanted = null, hasNames = false;

export const numberOf = (name) => files.find((file) => file.name === name)?.number ?? -1;
export const fileOf = (number) => files[number];
export const allFiles = () => files;
const isScore = (text) => columns.some((c) => c.text === text);
// The score that the table shows: the one that was chosen, or by which it is sorted, or that of the report.
export const metric = () => [state.metric, state.sort].find(isScore) ?? leading;
export const axes = () => {
  const known = (text, other) => (isScore(text) ? text : other ?? "");
  return { x: known(state.x, contrasted[0] ?? leading), y: known(state.y, contrasted[1] ?? columns[0]?.text) };
};
export const titleOf = (text) => columns.find((c) => c.text === text)?.title ?? text;

export function tell(found, statuses) {
  ({ files, columns, leading, contrasted } = found);
  hasNames = files.some((file) => file.named);
  at("n-files").textContent = files.length;
  const bad = files.filter((file) => file.notes.length);
  at("bad").hidden = !bad.length;
  at("bad").replaceChildren(...bad.flatMap((file) => file.notes.map((note) => made("li", { textContent: file.is_bad || note.includes(file.name) ? note : `${file.name}: ${note}` }))));
  at("files").replaceChildren(...files.map((file) => made("tr", {},
    made("th", { attributes: { scope: "row" }, title: (file.conditions ?? []).join(", ") },
      made("a", { textContent: file.label, href: fragment({ only: state.only === file.name ? "" : file.name }) })),
    made("td", { className: "number", textContent: file.samples ?? (file.is_bad ? "cannot be read" : "not yet open") }),
    made("td", { textContent: file.name }))));
  fill(at("only"), [["", "all conditions"], ...files.map((file) => [file.name, file.label])], state.only);
  fill(at("status"), [["", "any"], ...statuses.map((token) => [token, token])], state.status);
  const scores = columns.map((c) => [c.text, c.title]);
  fill(at("metric"), scores, metric());
  const { x, y } = axes();
  fill(at("x"), scores, x);
  fill(at("y"), scores, y);
}

// What the filters and the order say, as the server is asked.
export function query() {
  const sort = ["file", "sample", "name", "status"].includes(state.sort) || isScore(state.sort) ? state.sort : "file";
  return {
    only: state.only ? numberOf(state.only) : "", text: state.text, status: state.status,
    ...(metric() && (state.low || state.high) ? { metric: metric(), low: state.low, high: state.high } : {}),
    sort, falling: state.falling,
  };
}

// A link may name a file that this run does not have.
export function checked(asked) {
  if (asked.only === -1) throw new Error(`There is no file ${state.only} here: choose another condition above the table.`);
  return asked;
}

const NOTHING = { total: 0, offset: 0, rows: [] };
const rows = latest("rows", async (asked) => {
  page = asked.only === -1 ? NOTHING : await told("rows", asked);
  draw(asked.offset === undefined);
  checked(asked);
});

// Asks for the page of the table around the sample that is shown, or from an offset on.
export function refresh(offset = null) {
  if (!files.length) return; // the server has not yet said which there are
  const file = numberOf(state.file), own = files[file]?.samples ? { file, position: state.position } : {};
  const asked = { ...query(), shown: metric(), limit: LIMIT, ...(offset === null ? own : { offset }) };
  if (offset === null && !Object.keys(own).length) asked.offset = page.offset;
  rows(asked);
}

// Asks for the same page again, because there are more scores.
export const again = () => refresh(page.total ? page.offset : null);

function headOf(name, text, number) {
  const sorted = state.sort === name ? (state.falling ? "descending" : "ascending") : null;
  const button = made("button", { type: "button", textContent: text });
  button.dataset.sort = name;
  return made("th", { className: number ? "number" : "", attributes: { scope: "col", ...(sorted ? { "aria-sort": sorted } : {}) } }, button);
}

function draw(around) {
  const several = files.length > 1 && !state.only, shown = metric();
  const focused = document.activeElement?.dataset?.sort;
  at("heads").replaceChildren(
    headOf("sample", "Sample"),
    ...(shown ? [headOf(shown, titleOf(shown), true)] : []),
    headOf("status", "Status"),
    ...(hasNames ? [headOf("name", "Name")] : []),
    ...(several ? [headOf("file", "Condition")] : []),
  );
  if (focused) [...at("heads").querySelectorAll("button")].find((b) => b.dataset.sort === focused)?.focus();
  const { file, position } = at("body").contains(document.activeElement) ? document.activeElement.dataset : {};
  at("body").replaceChildren(...page.rows.map((row, i) => rowOf(row, i, several, shown)));
  if (!page.rows.length) {
    at("body").append(made("tr", {}, made("td", { textContent: files.some((f) => f.samples) ? "No sample fits the filters." : "No file is open yet.", attributes: { colspan: "5" } })));
  }
  const links = [...at("body").querySelectorAll("a")];
  const current = links.find((link) => link.closest("tr").hasAttribute("aria-current"));
  if (links.length) (current ?? links[0]).tabIndex = 0;
  if (wanted !== null && links.length) {
    const link = links[wanted < 0 ? links.length - 1 : Math.min(wanted, links.length - 1)];
    wanted = null;
    link.focus();
    open(link);
  } else if (file) {
    (links.find((link) => link.dataset.file === file && link.dataset.position === position) ?? current ?? links[0])?.focus({ preventScroll: true });
  }
  if (around && current) reveal(current.closest("tr"));
  const last = page.offset + page.rows.length;
  at("place").textContent = page.total ? `${page.offset + 1} to ${last} of ${page.total}` : "";
  at("before").disabled = page.offset === 0;
  at("after").disabled = last >= page.total;
}

// Scrolls the list alone: the page stays where the reader has put it.
function reveal(row) {
  const list = at("list"), own = row.getBoundingClientRect();
  const top = list.getBoundingClientRect().top + at("heads").offsetHeight, bottom = list.getBoundingClientRect().top + list.clientHeight;
  if (own.top < top) list.scrollTop -= top - own.top;
  else if (own.bottom > bottom) list.scrollTop += own.bottom - bottom;
}

function rowOf(row, i, several, shown) {
  const file = files[row.file];
  const changes = { file: file.name, position: row.position };
  const link = made("a", { textContent: row.sample < 0 ? "none" : row.sample, href: fragment(changes), tabIndex: -1 });
  Object.assign(link.dataset, changes);
  const isCurrent = file.name === state.file && String(row.position) === state.position;
  return made("tr", { attributes: isCurrent ? { "aria-current": "true" } : {} },
    made("th", { attributes: { scope: "row" } }, link),
    ...(shown ? [made("td", { className: "number", textContent: row.texts[0] })] : []),
    made("td", { textContent: statusOf(row.status), title: row.status.replaceAll(";", "; ") }),
    ...(hasNames ? [made("td", { textContent: short(row.name ?? "", 40), title: row.name ?? "" })] : []),
    ...(several ? [made("td", { textContent: file.label })] : []),
  );
}

// The open sample shows all of its statuses, and what they mean.
function statusOf(text) {
  const [first, ...others] = text.split(";");
  return others.length ? `${first}, ${others.length} more` : first;
}

function open(link) {
  change({ file: link.dataset.file, position: link.dataset.position }, { step: true });
}

// Marks the row of the sample that is shown; asks for its page where the table shows another one.
export function mark() {
  const links = [...at("body").querySelectorAll("a")];
  let found = null;
  for (const link of links) {
    const isCurrent = link.dataset.file === state.file && link.dataset.position === state.position;
    link.tabIndex = isCurrent ? 0 : -1;
    link.href = fragment({ file: link.dataset.file, position: link.dataset.position });
    if (isCurrent) found = link;
    link.closest("tr").toggleAttribute("aria-current", isCurrent);
    if (isCurrent) link.closest("tr").setAttribute("aria-current", "true");
  }
  if (found) reveal(found.closest("tr"));
  else refresh();
}

// The first click on a head puts the worst first, the second the best.
const fallingFor = (name) => (columns.find((c) => c.text === name)?.higher_is_better === false ? "1" : "");

export function listen() {
  at("metric").addEventListener("change", () => {
    const metric = at("metric").value;
    change({ metric, ...(isScore(state.sort) ? { sort: metric, falling: fallingFor(metric) } : {}) });
  });
  for (const name of ["only", "status", "x", "y"]) at(name).addEventListener("change", () => change({ [name]: at(name).value }));
  for (const name of ["text", "low", "high"]) at(name).addEventListener("input", () => change({ [name]: at(name).value }));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("before").addEventListener("click", () => refresh(Math.max(0, page.offset - LIMIT)));
  at("after").addEventListener("click", () => refresh(page.offset + LIMIT));
  at("heads").addEventListener("click", (event) => {
    const name = event.target.closest("button")?.dataset.sort;
    if (!name) return;
    change({ sort: name, falling: state.sort === name ? (state.falling ? "" : "1") : fallingFor(name) });
  });
  at("body").addEventListener("click", (event) => {
    const link = event.target.closest("tr")?.querySelector("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(link);
    link.focus({ preventScroll: true });
  });
  // What one copies or opens elsewhere is the view as it is now.
  at("body").addEventListener("pointerover", (event) => {
    const link = event.target.closest("a");
    if (link) link.href = fragment({ file: link.dataset.file, position: link.dataset.position });
  });
  at("body").addEventListener("keydown", (event) => {
    const links = [...at("body").querySelectorAll("a")], i = links.indexOf(document.activeElement);
    if (i < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = Math.max(0, page.total - 1);
    const go = { ArrowDown: 1, ArrowUp: -1, PageDown: LIMIT, PageUp: -LIMIT, Home: -page.total, End: page.total }[event.key];
    if (!go) return;
    event.preventDefault();
    const goal = Math.min(Math.max(page.offset + i + go, 0), last);
    if (goal === page.offset + i) return;
    const offset = goal - (goal % LIMIT);
    if (offset === page.offset) {
      links[goal - offset].focus();
      open(links[goal - offset]);
    } else {
      wanted = goal - offset;
      refresh(offset);
    }
  });
}
