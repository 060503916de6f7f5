// Draws the charts in the page's own colours, again where those change, and sorts the table.

const NAMES = 130;  // pixels beside a row of bars
const dark = matchMedia("(prefers-color-scheme: dark)");

function config() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const text = { labelColor: of("--ink"), titleColor: of("--ink"), labelFontSize: 12, titleFontSize: 12 };
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    axis: { ...text, gridColor: of("--line"), domainColor: of("--line"), tickColor: of("--line"), titleFontWeight: "normal" },
    legend: { ...text, symbolBaseFillColor: of("--soft"), symbolBaseStrokeColor: of("--soft") },
    header: text,
    bar: { color: of("--mark") },
    text: { color: of("--ink"), fontSize: 12 },
    rule: { color: of("--soft") },
    view: { stroke: null },
  };
}

const views = new Map();
let drawing = Promise.resolve(), width;

async function draw() {
  width = innerWidth;
  for (const place of document.querySelectorAll(".chart")) {
    const chart = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    if (chart.spec) chart.spec.width = Math.max(120, place.clientWidth - NAMES);  // Vega-Lite fits no facet to its place
    try {
      views.get(place)?.finalize();
      views.set(place, await vegaEmbed(place, chart, { actions: false, renderer: "svg", config: config(), mode: "vega-lite" }));
    } catch (error) {
      place.textContent = chart.description;  // the others are drawn all the same
      console.error(error);
    }
  }
  document.documentElement.dataset.drawn = Number(document.documentElement.dataset.drawn ?? 0) + 1;
}

const redraw = () => { drawing = drawing.then(draw); };

function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");  // what is not known comes last
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      });
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
dark.addEventListener("change", redraw);
let resizing;
addEventListener("resize", () => {
  if (innerWidth === width) return;  // a phone's address bar came or went
  clearTimeout(resizing);
  resizing = setTimeout(redraw, 150);
});
redraw();
