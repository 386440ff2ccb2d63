// What the charts show of the runs that pass the filter, and how Bokeh is asked to draw it.
// A line is { runs, colour, x, y, low, high }: `y` holds null where there is no value, `low` and
// `high` are there where it is a mean.

const MOST_TICKS = 8; // swept numbers that are named on an axis
const several = data.keys.filter((key) => key.choices.length > 1 && key.styles);
const seeds = several.find((key) => key.name === "seed");
const axes = several.filter((key) => key !== seeds);

const keyOf = (name) => several.find((key) => key.name === name);
const colourOf = (run, choice) => keyOf(choice.colour)?.values[run] ?? 0;
const isValue = (value) => value !== null && value !== undefined;

// --- lines

/** The runs that share a colour, or their configuration but for what is on the axis. */
function groups(runs, choice, axis) {
  const keys = choice.shown === "colours"
    ? several.filter((key) => key.name === choice.colour)
    : several.filter((key) => key !== seeds && key !== axis);
  const found = new Map();
  for (const run of runs) {
    const values = keys.map((key) => key.values[run]).join();
    if (!found.has(values)) found.set(values, []);
    found.get(values).push(run);
  }
  return [...found.values()];
}

/** The mean of some runs' values at each x, with the lowest and the highest of them. */
function mean(runs, colour, x, values) {
  const known = values.map((own) => own.filter(isValue));
  const each = (make) => known.map((own) => (own.length ? make(own) : null));
  return {
    runs, colour, x, counts: known.map((own) => own.length),
    y: each((own) => own.reduce((sum, value) => sum + value, 0) / own.length),
    low: each((own) => Math.min(...own)),
    high: each((own) => Math.max(...own)),
  };
}

/** Scores by epoch: a line for each run or group, and a cross where a run diverged. */
function curveLines(runs, choice) {
  const curves = data.curves[choice.score] ?? [];
  const own = runs.filter((run) => curves[run]?.length);
  if (choice.shown !== "runs")
    return groups(own, choice).map((group) => mean(group, colourOf(group[0], choice), data.epochs,
      data.epochs.map((_, place) => group.map((run) => curves[run][place]))));
  const lines = own.map((run) =>
    ({ runs: [run], colour: colourOf(run, choice), x: data.epochs, y: curves[run] }));
  const ends = lines.filter((line) => data.diverged[line.runs[0]]).map((line) =>
    ({ ...line, x: [line.x[line.y.length - 1]], y: [line.y.at(-1)], diverged: true }));
  return [...lines, ...ends];
}

/** The score of each run or group over a swept value, and a cross below where runs diverged. */
function scoreLines(runs, choice) {
  const scores = data.scores[choice.score] ?? [];
  const axis = keyOf(choice.over);
  const at = (run) => axis.numbers?.[axis.values[run]] ?? axis.values[run];
  const placed = runs.filter((run) => axis.values[run] >= 0);
  const scored = placed.filter((run) => !data.diverged[run] && isValue(scores[run]));
  const point = (run) => ({ runs: [run], colour: colourOf(run, choice), x: [at(run)] });
  const crosses = placed.filter((run) => data.diverged[run]).map((run) =>
    ({ ...point(run), y: ["lowest"], diverged: true }));
  if (choice.shown === "runs")
    return [...scored.map((run) => ({ ...point(run), y: [scores[run]] })), ...crosses];
  const means = groups(scored, choice, axis).map((group) => {
    const places = [...new Set(group.map((run) => axis.values[run]))].sort((a, b) => a - b);
    const values = places.map((place) =>
      group.filter((run) => axis.values[run] === place).map((run) => scores[run]));
    const x = places.map((place) => axis.numbers?.[place] ?? place);
    return mean(group, colourOf(group[0], choice), x, values);
  });
  return [...means, ...crosses];
}

// --- how Bokeh draws them

/** The least and the most of the lines that did not diverge, with a little space around them. */
function domain(lines, scale) {
  const isDrawn = (value) => Number.isFinite(value) && (scale === "linear" || value > 0);
  const tame = lines.filter((line) => !line.diverged && !line.runs.every((run) => data.diverged[run]));
  const values = (tame.length ? tame : lines)
    .flatMap((line) => [...line.y, ...(line.low ?? []), ...(line.high ?? [])]).filter(isDrawn);
  if (!values.length) return scale === "log" ? [0.1, 1] : [0, 1];
  return spaced(values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b)), scale);
}

/** From below the low to above the high, also where they are the same. */
function spaced(low, high, scale) {
  if (scale === "log") {
    const factor = Math.max((high / low) ** 0.05, 1.01);
    return [low / factor, high * factor];
  }
  const space = 0.05 * (high - low) || 0.05 * Math.abs(high) || 0.05;
  return [low - space, high + space];
}

function epochAxis() {
  const last = data.epochs.at(-1), first = data.epochs[0];
  const range = [first - 0.01 * (last - first), last + 0.01 * (last - first)];
  return { title: "epoch", type: "linear", range, step: 1 };
}

/** A swept value's axis: of words, in their order, else of numbers, on a logarithmic scale where they
 * range widely. */
function sweptAxis(key) {
  const title = key.name === "lr" ? "learning rate" : key.name;
  const places = key.choices.map((_, place) => place);
  if (!key.numbers)
    return { title, type: "linear", range: [-0.5, places.length - 0.5], ticks: places,
      labels: key.choices.map(shortened) };
  const low = key.numbers[0], high = key.numbers.at(-1);
  const type = low > 0 && high / low > 20 ? "log" : "linear";
  const ticks = key.numbers.length <= MOST_TICKS ? { ticks: key.numbers, labels: key.choices } : {};
  return { title, type, range: spaced(low, high, type), ...ticks };
}

const FONT = "system-ui, 'Noto Sans', sans-serif";
const QUIET = "#b3b3b3", INK = "#333333";

/** A value just above the lower end of an axis, where crosses are seen whole. */
function axisEnd({ start, end }, scale) {
  return scale === "log" ? start * (end / start) ** 0.025 : start + 0.025 * (end - start);
}

/** 1, 2 and 5 times the powers of ten between two numbers; of many the powers alone. */
function logTicks(low, high) {
  const factors = high / low > 1000 ? [1] : [1, 2, 5];
  const powers = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) powers.push(power);
  return powers.flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)))
    .filter((tick) => tick >= low && tick <= high);
}

/** A text without its middle where it is long. */
function shortened(text) {
  return text.length > 24 ? `${text.slice(0, 12)}…${text.slice(-11)}` : text;
}

/** A text as it stands: Bokeh takes what is between two dollars in others for TeX. */
const plain = (text) => new Bokeh.PlainText({ text });

function setTicks(axis, ticks, labels) {
  axis.ticker = new Bokeh.FixedTicker({ ticks });
  axis.major_label_overrides = new Map(ticks.map((tick, n) => [tick, plain(labels[n])]));
}

/** Axes with nothing on them yet. */
function frame(lines, axis, title, choice) {
  const figure = new Bokeh.Plotting.Figure({
    height: 320, sizing_mode: "stretch_width", x_axis_type: axis.type, y_axis_type: choice.scale,
    x_range: axis.range, y_range: domain(lines, choice.scale),
    x_axis_label: plain(axis.title), y_axis_label: title, tools: "pan,box_zoom,wheel_zoom,reset", toolbar_location: "above",
    background_fill_color: null, border_fill_color: null, outline_line_color: null,
    min_border_right: 24,
  });
  figure.toolbar.autohide = true;
  figure.toolbar.logo = null;
  for (const each of [...figure.xaxes, ...figure.yaxes])
    each.setv({ axis_line_color: QUIET, major_tick_line_color: QUIET, minor_tick_line_color: null,
      major_label_text_color: INK, axis_label_text_color: INK, axis_label_text_font_style: "normal",
      major_label_text_font: FONT, axis_label_text_font: FONT });
  if (choice.scale === "log") {
    const ticks = logTicks(figure.y_range.start, figure.y_range.end);
    if (ticks.length > 1) setTicks(figure.yaxes[0], ticks, ticks.map(String));
    figure.ygrids[0].ticker = figure.yaxes[0].ticker;
  }
  figure.xgrids[0].grid_line_color = null;
  figure.ygrids[0].grid_line_color = "#ebebeb";
  if (axis.ticks) setTicks(figure.xaxes[0], axis.ticks, axis.labels);
  if (axis.step) Object.assign(figure.xaxes[0].ticker, { min_interval: axis.step, num_minor_ticks: 0 });
  figure.xaxes[0].major_label_policy = new Bokeh.NoOverlap();
  return figure;
}

/** The lines' points: their colours and places, one after another. */
function pointsOf(lines, colours) {
  const points = lines.flatMap((line, n) => line.y.map((y, place) => [line.x[place], y, colours[n]]));
  const column = (part) => points.map((point) => point[part]);
  return { x: column(0), y: column(1), color: column(2) };
}

/** The area between the lowest and the highest value, where there are any. */
function bandOf({ x, y, low, high }) {
  const known = y.flatMap((value, place) => (Number.isNaN(value) ? [] : [place]));
  const back = known.toReversed();
  const ends = [...known.map((place) => low[place]), ...back.map((place) => high[place])];
  return { x: [...known, ...back].map((place) => x[place]), y: ends };
}

/** What Bokeh draws of the lines, and what marks one of them: `mark(line, place)`, or no line. */
function drawing(lines, axis, title, choice) {
  const figure = frame(lines, axis, title, choice);
  const floor = axisEnd(figure.y_range, choice.scale);
  for (const line of lines) line.y = line.y.map((value) => (value === "lowest" ? floor : value ?? NaN));
  const others = lines.filter((line) => !line.diverged);
  const means = others.filter((line) => line.low);
  const paths = others.filter((line) => line.y.length > 1);
  const crowd = Math.sqrt(6 / Math.max(others.length, 6));
  const faint = means.length ? 1 : Math.max(0.35, 0.95 * crowd);

  const styles = keyOf(choice.colour)?.styles ?? [["#3b528b", 0]];
  const styleOf = (line) => styles[line.colour] ?? ["#999999", 0];
  const colours = (own) => own.map((line) => styleOf(line)[0]);
  const dashes = (own) => own.map((line) => (styleOf(line)[1] ? "dashed" : "solid"));
  const columns = (own) =>
    ({ xs: own.map((line) => line.x.slice(0, line.y.length)), ys: own.map((line) => line.y) });

  if (means.length) {
    const bands = means.map(bandOf);
    figure.patches({ xs: bands.map((band) => band.x), ys: bands.map((band) => band.y),
      fill_color: colours(means), fill_alpha: 0.15, line_alpha: 0 });
  }
  if (paths.length)
    figure.multi_line({ ...columns(paths), line_color: colours(paths), line_dash: dashes(paths),
      line_width: means.length ? 2 : 0.8 + 0.9 * crowd, line_alpha: faint });
  if (!paths.length || axis.title !== "epoch")
    figure.scatter({ ...pointsOf(others, colours(others)), size: 7, line_alpha: 0, fill_alpha: faint });
  const crosses = lines.filter((line) => line.diverged);
  figure.scatter({ ...pointsOf(crosses, colours(crosses)), marker: "x", size: 8, line_width: 1.5 });

  const focus = new Bokeh.ColumnDataSource({ data: { xs: [], ys: [], color: [] } });
  const spot = new Bokeh.ColumnDataSource({ data: { x: [], y: [], color: [] } });
  const field = (name) => ({ field: name });
  for (const [line_color, line_width] of [["white", 7], [field("color"), 3]])
    figure.multi_line(field("xs"), field("ys"), { source: focus, line_color, line_width });
  figure.scatter(field("x"), field("y"),
    { source: spot, fill_color: field("color"), line_color: "white", size: 10 });
  const mark = (line, place) => {
    const own = line ? [line] : [];
    const at = own.map(({ x, y, colour }) => ({ x: [x[place]], y: [y[place]], colour }));
    focus.data = { ...columns(own), color: colours(own) };
    spot.data = pointsOf(at, colours(at));
  };
  return { figure, mark };
}
