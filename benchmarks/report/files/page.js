// Draws the charts in the page's own colours, which follow it into the dark and onto paper; sorts the table; stops the film.

function config(width) {
  const text = { labelColor: "var(--ink)", titleColor: "var(--ink)", labelFontSize: 12, titleFontSize: 12 };
  const names = Math.max(90, Math.min(240, 0.38 * width));  // pixels for the names of files
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    axis: { ...text, gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", titleFontWeight: "normal", titleLimit: width },
    axisX: { titleAnchor: "end", labelBound: true, labelSeparation: 12 },
    axisY: { labelLimit: names },
    legend: { ...text, columns: Math.max(1, Math.floor((width - names) / 170)), labelLimit: width - names - 40, symbolBaseFillColor: "var(--soft)", symbolBaseStrokeColor: "var(--soft)" },
    bar: { color: "var(--mark)" },
    text: { color: "var(--ink)", fontSize: 12 },
    rule: { color: "var(--soft)" },
    view: { stroke: null },
  };
}

const views = new Map();
let drawing = Promise.resolve(), width;

async function draw() {
  width = innerWidth;
  for (const place of document.querySelectorAll(".chart")) {
    const chart = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    try {
      views.get(place)?.finalize();
      const how = { actions: false, renderer: "svg", config: config(place.clientWidth), mode: "vega-lite" };
      views.set(place, await vegaEmbed(place, chart, how));
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

function stoppable(film) {
  const still = film.querySelector("source"), button = film.querySelector("button");
  const show = (moves) => {
    still.media = moves ? "not all" : "all";
    button.textContent = moves ? "Stop" : "Play";
  };
  show(!matchMedia(still.media).matches);
  button.addEventListener("click", () => show(still.media === "all"));
  button.hidden = false;
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll(".film").forEach(stoppable);
let resizing;
addEventListener("resize", () => {
  if (innerWidth === width) return;  // a phone's address bar came or went
  clearTimeout(resizing);
  resizing = setTimeout(redraw, 150);
});
redraw();
