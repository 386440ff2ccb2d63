// The charts: what is chosen above them, drawing, and what is under the pointer.

const SPLITS = { val: "validation", test: "test", train: "training" };
const MOST_COLOURS = 14; // that the line above the charts explains
const REACH = 30; // pixels from a line or point at which the pointer still means it

const choice = {
  metric: "accuracy", split: data.split, scale: "linear", shown: "runs", colour: data.colour,
  over: (keyOf("lr") ?? axes.find((key) => key.numbers) ?? axes[0] ?? seeds)?.name,
  workload: 0,
  get score() { return `${this.split}/${this.metric}`; },
};
const section = document.getElementById("charts");

const digits = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });
const words = () => `${SPLITS[choice.split]} ${choice.metric.replace("_", " ")}`;
const runs = () => passing.filter((run) => data.workload[run] === choice.workload);

const charts = [
  { title: (count) => `${words()} by epoch, ${count}`, lines: curveLines, axis: epochAxis,
    where: (x) => ` at epoch ${x}`, isShown: data.epochs.length > 1 },
  { title: (count) => `${words()} over ${choice.over}, ${count}`, lines: scoreLines,
    axis: () => sweptAxis(keyOf(choice.over)), where: (x) => ` at ${choice.over} ${keyOf(choice.over).numbers ? x : keyOf(choice.over).choices[x]}`,
    isShown: Boolean(choice.over) },
].filter((chart) => chart.isShown);

// --- choices

/** Buttons of which one is pressed, for a choice of a few. */
function buttons(name, legend, options) {
  const made = options.map(([value, text]) => {
    const box = element("input", { type: "radio", name, value, checked: choice[name] === value });
    box.addEventListener("change", () => pick(name, value));
    return element("label", {}, box, element("span", {}, text));
  });
  return element("fieldset", {}, element("legend", {}, legend), element("div", {}, ...made));
}

/** A list of which one is chosen. */
function list(name, legend, options) {
  const made = options.map(([value, text]) =>
    element("option", { value, selected: choice[name] === value }, text));
  const select = element("select", { name }, ...made);
  select.addEventListener("change", () => pick(name, options[select.selectedIndex][0]));
  return element("label", { className: "list" }, element("span", {}, legend), select);
}

function pick(name, value) {
  choice[name] = value;
  draw();
}

/** What can be chosen of this sweep: a choice of one is none. */
function makeChoices(place) {
  const names = Object.keys(data.scores).map((name) => name.split("/"));
  const splits = [...new Set(names.map(([split]) => split))].map((split) => [split, SPLITS[split]]);
  const metrics = [...new Set(names.map(([, metric]) => metric))]
    .map((metric) => [metric, metric.replace("_", " ")]);
  const colours = several.map((key) => [key.name, key.name]);
  const swept = (axes.length ? axes : several).map((key) => [key.name, key.name]);
  const shown = [["runs", "runs"]];
  if (seeds) shown.push(["seeds", "mean over seeds"]);
  if (several.length) shown.push(["colours", "mean of each colour"]);
  place.append(
    ...(metrics.length > 1 ? [buttons("metric", "Score", metrics)] : []),
    ...(splits.length > 1 ? [buttons("split", "Data", splits)] : []),
    buttons("scale", "Scale", [["linear", "linear"], ["log", "log"]]),
    ...(shown.length > 1 ? [buttons("shown", "Lines", shown)] : []),
    ...(colours.length > 1 ? [list("colour", "Colour by", colours)] : []),
    ...(swept.length > 1 ? [list("over", "Scores over", swept)] : []),
    ...(data.workloads.length > 1
      ? [list("workload", "Workload", data.workloads.map((name, number) => [number, name]))] : []),
  );
}

/** What the colours stand for; of many choices some, as they are in order. */
function explainColours(place) {
  const key = keyOf(choice.colour);
  const last = (key?.choices.length ?? 0) - 1;
  const most = Math.min(last + 1, MOST_COLOURS);
  const shown = Array.from({ length: most }, (_, n) => Math.round((n * last) / Math.max(most - 1, 1)));
  place.replaceChildren(...shown.map((number) => {
    const swatch = element("i");
    swatch.style.background = key.styles[number][0];
    return element("span", { className: "key" }, swatch, key.choices[number]);
  }));
  if (key) place.prepend(element("span", {}, `${key.name}:`));
}

// --- drawing

async function drawChart(chart) {
  chart.drawn = chart.lines(runs(), choice);
  const count = `${runs().length.toLocaleString("en")} run${runs().length === 1 ? "" : "s"}`;
  chart.heading.textContent = chart.title(count).replace(/^./, (sign) => sign.toUpperCase());
  const { figure, mark } = drawing(chart.drawn, chart.axis(), words(), choice);
  chart.tip.hidden = true;
  chart.view?.remove();
  chart.canvas.replaceChildren();
  chart.view = await Bokeh.Plotting.show(figure, chart.canvas);
  Object.assign(chart, { mark, places: null });
}

/** Turns to a workload that passes the filter, where the chosen one does not. */
function followFilter() {
  const select = section.querySelector("select[name=workload]");
  if (!select || runs().length || !passing.length) return;
  choice.workload = data.workload[passing[0]];
  select.selectedIndex = choice.workload;
}

let wanted = 0, isDrawing = false;

/** Draws the charts as they are wanted now, once where that changes while they are drawn. */
async function draw() {
  wanted++;
  if (isDrawing) return;
  isDrawing = true;
  section.ariaBusy = "true";
  for (let done = 0; done !== wanted; ) {
    done = wanted;
    followFilter();
    explainColours(document.getElementById("colours"));
    for (const chart of charts) await drawChart(chart);
  }
  isDrawing = false;
  section.ariaBusy = "false";
}

// --- pointing

/** Where each point of each line is on the canvas: anew where that was zoomed, moved or resized. */
function places(chart) {
  const { x_scale: x, y_scale: y } = chart.view.frame;
  const state = [x, y].flatMap((scale) =>
    [scale.source_range, scale.target_range].flatMap((range) => [range.start, range.end])).join();
  if (chart.places?.state !== state) {
    const lines = chart.drawn.map((line) =>
      ({ line, px: x.v_compute(line.x.slice(0, line.y.length)), py: y.v_compute(line.y) }));
    chart.places = { state, lines };
  }
  return chart.places.lines;
}

/** The line nearest to a place, and which of its points, within reach. */
function nearest(chart, x, y) {
  let found = null, least = REACH;
  for (const { line, px, py } of places(chart))
    for (let at = 0; at < px.length; at++) {
      let away = Math.hypot(px[at] - x, py[at] - y), place = at;
      if (px[at] <= x && x < px[at + 1]) {
        const part = (x - px[at]) / (px[at + 1] - px[at]);
        const above = Math.abs(py[at] + part * (py[at + 1] - py[at]) - y);
        if (above < away) [away, place] = [above, part < 0.5 ? at : at + 1];
      }
      if (away < least) [least, found] = [away, { line, place, x: px[place], y: py[place] }];
    }
  return found;
}

/** What a line's point is, as lines of text. */
function described({ line, place }, chart) {
  const [run] = line.runs;
  const value = `${words()} ${line.diverged ? "diverged" : digits(line.y[place])}`;
  const where = chart.where(line.x[place]);
  if (!line.counts) {
    const swept = several.filter((key) => key.values[run] >= 0)
      .map((key) => `${key.name} ${key.choices[key.values[run]]}`);
    return [data.names[run], value + where, swept.join(", "), data.notes[run]];
  }
  const shared = several.filter((key) =>
    key !== seeds && line.runs.every((other) => key.values[other] === key.values[run]));
  const name = shared.map((key) => `${key.name} ${key.choices[key.values[run]]}`).join(", ");
  return [name || "all runs", `mean ${value}${where}`,
    `${digits(line.low[place])} to ${digits(line.high[place])} of ${line.counts[place]} runs`];
}

/** Shows a line as the one that is meant, and what it is; or none. */
function point(chart, found) {
  const { tip, meant } = chart;
  if (found?.line === meant?.line && found?.place === meant?.place) return;
  chart.meant = found;
  chart.mark(found?.line, found?.place);
  for (const row of document.querySelectorAll("tr.pointed")) row.classList.remove("pointed");
  tip.hidden = !found;
  if (!found) return;
  const [title, ...rest] = described(found, chart).filter(Boolean);
  tip.replaceChildren(element("b", {}, title), ...rest.map((text) => element("div", {}, text)));
  const canvas = boxOf(chart), place = chart.place.getBoundingClientRect();
  const x = found.x + canvas.left - place.left, y = found.y + canvas.top - place.top;
  tip.style.top = `${Math.max(0, y - tip.offsetHeight - 12)}px`;
  tip.style.left = `${Math.max(0, Math.min(x + 12, place.width - tip.offsetWidth))}px`;
  if (!found.line.counts) rowOf(found.line.runs[0])?.classList.add("pointed");
}

const boxOf = (chart) => chart.view.canvas_view.el.getBoundingClientRect();
const rowOf = (run) => document.querySelector(`tr[data-run="${run}"]`);

function makePointer(chart) {
  const found = (event) => {
    const { left, top } = boxOf(chart);
    return nearest(chart, event.clientX - left, event.clientY - top);
  };
  chart.canvas.addEventListener("pointermove", (event) => chart.view && point(chart, found(event)));
  chart.canvas.addEventListener("pointerleave", () => chart.view && point(chart, null));
  chart.canvas.addEventListener("click", (event) => {
    const meant = found(event)?.line.runs ?? [];
    const row = meant.length === 1 && rowOf(meant[0]);
    if (!row) return;
    for (const other of document.querySelectorAll("tr.found")) other.classList.remove("found");
    row.classList.add("found");
    row.scrollIntoView({ block: "center" });
  });
}

for (const chart of charts) {
  chart.heading = element("h3");
  chart.canvas = element("div", { className: "canvas" });
  chart.tip = element("div", { className: "tip", hidden: true, role: "status" });
  chart.place = element("div", { className: "chart" }, chart.canvas, chart.tip);
  section.querySelector(".charts").append(element("figure", {}, chart.heading, chart.place));
  makePointer(chart);
}
if (charts.length) {
  Bokeh.logger.set_level("warn");
  makeChoices(document.getElementById("choices"));
  document.documentElement.classList.add("charted");
  followers.push(draw);
  draw();
}
