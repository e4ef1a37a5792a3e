// Draws the charts of the page as they come into view; their data and their specifications are in the page itself.

const { tables, charts } = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The rows of a chart's data: its own, or columns of a table of the page. The same as `values_of` in drawing.py. */
function valuesOf(chart) {
  if (!chart.names.length) return chart.values;
  const columns = tables[chart.table];
  const rows = [];
  for (const name of chart.names) {
    const [value, least, most] = [columns.value[name], columns.least[name], columns.most[name]];
    columns.step.forEach((step, i) => {
      if (value[i] === null) return;
      const row = { step, name, value: value[i] };
      if (least) Object.assign(row, { least: least[i], most: most[i] });
      rows.push(row);
    });
  }
  return rows;
}

/** Vega's colours, as the style sheet has them now. */
function config() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const [ink, soft, line] = [colour("ink"), colour("soft"), colour("line")];
  const lines = { gridColor: line, domainColor: line, tickColor: line };
  return {
    background: "transparent", font: "system-ui, -apple-system, 'Segoe UI', sans-serif",
    mark: { color: dark.matches ? "#56b4e9" : "#0072b2" },
    text: { color: ink },
    rule: { color: soft },
    view: { stroke: null },
    axis: { labelColor: soft, titleColor: soft, titleFontWeight: "normal", ...lines },
    legend: { labelColor: ink, titleColor: soft },
  };
}

/** Scales name their colours, of which the darkest are hard to see on a dark page: they are given brighter ones there. */
const BRIGHTER = { "#0072b2": "#56b4e9", "#d55e00": "#ff9c4a", "#009e73": "#2fd1a0", "#cc79a7": "#e6a3cb", "#b8860b": "#e0c04a",
  "#56b4e9": "#9bd0f2", "#8c564b": "#d0a08f", "#7f7f7f": "#bbbbbb" };

function coloured(spec) {
  if (!dark.matches) return spec;
  return JSON.parse(JSON.stringify(spec), (_, value) => (typeof value === "string" ? BRIGHTER[value] ?? value : value));
}

const shown = new Map();

async function draw(box) {
  const chart = charts[Number(box.id.replace("chart-", ""))];
  shown.get(box)?.finalize();
  const spec = {
    width: "container", height: 200, autosize: { type: "fit", contains: "padding" },
    ...coloured(chart.spec), data: { values: valuesOf(chart) },
  };
  // An interpreter in place of compiled expressions, so that the page needs no right to make code of text.
  const options = { ast: true, renderer: "canvas", config: config(), actions: { export: true, source: false, compiled: false, editor: false } };
  const made = await window.vegaEmbed(box, spec, options);
  shown.set(box, made);
  const picture = box.querySelector("canvas");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", chart.words);
  box.querySelector("summary").setAttribute("aria-label", `Save the chart ${chart.title}`);
  box.dataset.drawn = "yes";
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    draw(target).catch((error) => { target.textContent = `This chart could not be drawn: ${error.message}`; });
  }
}, { rootMargin: "300px" });

for (const box of document.querySelectorAll(".plot")) seen.observe(box);
dark.addEventListener("change", () => { for (const box of [...shown.keys()]) draw(box); });
// Paper has no rest of the page to come into view.
addEventListener("beforeprint", () => { for (const box of document.querySelectorAll(".plot:not([data-drawn])")) draw(box); });
