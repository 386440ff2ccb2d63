"use strict";
// Sorts the page's tables by any column, and filters runs and configurations by what was swept.
// What comes from a person's data or command line is written as text, never as HTML.

const data = JSON.parse(document.getElementById("runs-data").textContent);
const all = data.names.map((_, run) => run);

/** An element with properties and children; text is text. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// --- sorting

/** The header cell of each column, also where some columns share a cell above. */
function headersOf(table) {
  const rows = [...table.tHead.rows];
  const taken = rows.map(() => []);
  rows.forEach((row, y) => {
    let x = 0;
    for (const cell of row.cells) {
      while (taken[y][x]) x++;
      for (let down = 0; down < cell.rowSpan; down++)
        for (let across = 0; across < cell.colSpan; across++) taken[y + down][x + across] = cell;
      x += cell.colSpan;
    }
  });
  return taken.at(-1);
}

/** A cell's number, else its text; null where it is empty. */
function valueOf(cell) {
  const text = (cell.dataset.sort ?? cell.textContent).trim();
  if (text === "" || text === "–") return null;
  const number = cell.classList.contains("number") ? parseFloat(text) : Number(text);
  return Number.isNaN(number) ? text : number;
}

/** Numbers before texts; where `sign` is -1 the other way round. What is empty is always last. */
function compared(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return sign * (typeof a === "number" ? -1 : 1);
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
}

function sort(table, headers, column) {
  const chosen = headers[column];
  const best = chosen.textContent.includes("accuracy") ? "descending" : "ascending";
  const other = best === "ascending" ? "descending" : "ascending";
  const direction = chosen.ariaSort === best ? other : best;
  for (const header of headers) header.removeAttribute("aria-sort");
  chosen.ariaSort = direction;
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => row.cells.length > 1); // not a workload's name
    const keyed = rows.map((row) => [valueOf(row.cells[column]), row]);
    keyed.sort((a, b) => compared(a[0], b[0], direction === "ascending" ? 1 : -1));
    body.append(...keyed.map(([, row]) => row));
  }
}

function makeSortable(table) {
  const headers = headersOf(table);
  headers.forEach((header, column) => {
    const button = element("button", { type: "button", className: "sort", title: "Sort" });
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, headers, column));
  });
}

// --- filtering

const MOST_BOXES = 30; // choices beyond which numbers are asked for as a range
const filter = new Map(); // a key's name to the choices that pass

function passes(run) {
  return data.keys.every((key) => filter.get(key.name)?.has(key.values[run]) ?? true);
}

let passing = all;
const followers = []; // what is drawn again when the filter changes

function applyFilter() {
  passing = all.filter(passes);
  const runs = new Set(passing);
  const configurations = new Set(passing.map((run) => data.configuration[run]));
  for (const row of document.querySelectorAll("tr[data-run]"))
    row.hidden = !runs.has(Number(row.dataset.run));
  for (const row of document.querySelectorAll("tr[data-configuration]"))
    row.hidden = !configurations.has(Number(row.dataset.configuration));
  const count = passing.length.toLocaleString("en");
  const every = all.length.toLocaleString("en");
  document.getElementById("passing").value = `${count} of ${every} run${all.length === 1 ? "" : "s"}`;
  document.getElementById("clear").hidden = filter.size === 0;
  for (const follow of followers) follow();
}

/** Lets these choices of a key pass, all where none is left out, and says so on its menu. */
function choose(key, choices) {
  const every = choices.length === key.choices.length;
  if (every) filter.delete(key.name);
  else filter.set(key.name, new Set(choices));
  const few = choices.map((choice) => key.choices[choice]).join(", ");
  const many = `${choices.length} of ${key.choices.length}`;
  key.shown.textContent = every ? "all" : choices.length && few.length <= 24 ? few : many;
  key.menu.classList.toggle("on", !every);
  applyFilter();
}

/** A box for each choice, and one for all of them. */
function boxes(key) {
  const own = key.choices.map((choice) =>
    element("input", { type: "checkbox", checked: true, value: choice }));
  const every = element("input", { type: "checkbox", checked: true });
  const changed = () => {
    const chosen = own.flatMap((box, choice) => (box.checked ? [choice] : []));
    every.checked = chosen.length === own.length;
    every.indeterminate = chosen.length > 0 && !every.checked;
    choose(key, chosen);
  };
  for (const box of own) box.addEventListener("change", changed);
  key.clear = (checked = true) => {
    for (const box of own) box.checked = checked;
    changed();
  };
  every.addEventListener("change", () => key.clear(every.checked));
  const labels = own.map((box, choice) => element("label", {}, box, key.choices[choice]));
  return [element("label", { className: "every" }, every, "all"), ...labels];
}

/** The lowest and the highest number that pass. */
function range(key) {
  const [low, high] = ["from", "to"].map((text) =>
    element("input", { type: "number", step: "any", ariaLabel: `${key.name} ${text}`,
      placeholder: text === "from" ? key.choices[0] : key.choices.at(-1) }));
  const changed = () => {
    const least = low.value === "" ? -Infinity : Number(low.value);
    const most = high.value === "" ? Infinity : Number(high.value);
    choose(key, key.numbers.flatMap((n, choice) => (n >= least && n <= most ? [choice] : [])));
  };
  for (const box of [low, high]) box.addEventListener("input", changed);
  key.clear = () => {
    low.value = high.value = "";
    changed();
  };
  return [element("label", {}, "from", low), element("label", {}, "to", high)];
}

function makeFilters(place) {
  for (const key of data.keys.filter((each) => each.choices.length > 1)) {
    key.shown = element("span", {}, "all");
    const asked = key.numbers && key.choices.length > MOST_BOXES ? range(key) : boxes(key);
    key.menu = element("details", { className: "menu" },
      element("summary", {}, `${key.name}: `, key.shown),
      element("div", { className: "boxes" }, ...asked));
    place.append(key.menu);
  }
  const menus = [...place.querySelectorAll("details")];
  const clear = element("button", { type: "button", id: "clear", textContent: "Clear filter" });
  clear.addEventListener("click", () => {
    for (const key of data.keys) if (filter.has(key.name)) key.clear();
  });
  place.append(clear, element("output", { id: "passing" }));
  document.addEventListener("click", (event) => {
    for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const open = menus.find((menu) => menu.open);
    if (event.key !== "Escape" || !open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
}

for (const table of document.querySelectorAll("main table")) if (table.tHead) makeSortable(table);
makeFilters(document.getElementById("filter"));
document.documentElement.classList.add("scripted");
applyFilter();
