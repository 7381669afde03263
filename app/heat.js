const stops = new WeakMap(); // what makes a cell the stop of a table that is on the page

export default function heat({ data, parentElement: place, setTriggerValue }) {
  const table = place.querySelector("table");
  const buttons = () => [...table.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("button")]);
  if (!stops.has(table)) stops.set(table, roving(table, buttons));
  const rows = buttons();
  const focused = rows.flat().indexOf(table.getRootNode().activeElement);
  table.style.setProperty("--strong", data.strong);
  const cellOf = (cell, row, column) => {
    const taken = data.picked[0] === row && data.picked[1] === column;
    const looks = { class: taken ? "taken" : "", style: `--depth: ${cell.depth}` };
    if (!data.takes) return make("td", { ...looks, title: cell.label }, cell.said);
    const take = () => setTriggerValue("cell", [row, column]);
    const about = { type: "button", title: cell.label, "aria-label": cell.label, "aria-pressed": String(taken), tabindex: -1 };
    return make("td", looks, make("button", { ...about, click: take }, cell.said));
  };
  const heads = data.columns.map((name) => make("th", { scope: "col" }, name));
  table.setAttribute("aria-label", data.label);
  if (data.takes) table.setAttribute("role", "grid");
  table.replaceChildren(
    make("thead", {}, make("tr", {}, make("td", {}), make("th", { class: "across", colspan: heads.length }, data.across)),
      make("tr", {}, make("th", { scope: "col" }, "T"), ...heads)),
    make("tbody", {}, ...data.rows.map(({ name, cells }, row) =>
      make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell, column) => cellOf(cell, row, column))))),
  ); // prettier-ignore
  if (data.takes) {
    const now = buttons();
    const before = now.flat()[focused];
    stops.get(table)(before ?? now[data.picked[0]][data.picked[1]]);
    before?.focus();
  }
  const frame = table.parentElement; // on a narrow screen the cell that is taken may lie beyond the edge
  const beyond = table.querySelector(".taken").getBoundingClientRect().right - frame.getBoundingClientRect().right;
  if (focused < 0 && beyond > 0) frame.scrollLeft += beyond + 8;
  stands(place);
}
