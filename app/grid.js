export default function ({ data, parentElement, setTriggerValue }) {
  const make = (name, of = {}, ...children) => {
    const made = Object.assign(document.createElement(name), of);
    made.append(...children);
    return made;
  };
  const frame = parentElement.querySelector(".frame"), table = frame.querySelector("table");
  const list = parentElement.querySelector("ul"), before = parentElement.querySelector("button:focus")?.dataset.key;
  for (const [name, colour] of Object.entries(data.colours)) {
    for (const part of [frame, list]) part.style.setProperty(`--${name}`, colour);
  }
  const square = (one) => {
    if (one === null) return make("td");
    const shape = make("span", { className: "shape", textContent: one.shape, ariaHidden: "true" });
    const button = make("button", { type: "button", className: one.kind, title: one.tip, ariaLabel: one.tip },
      shape, make("span", { className: "measured", textContent: one.measured }),
      make("span", { className: "published", textContent: one.published || "\u00a0" }));
    button.dataset.key = one.key;
    button.setAttribute("aria-pressed", String(one.key === data.chosen));
    button.onclick = () => setTriggerValue("cell", one.key);
    return make("td", {}, button);
  };
  const head = (words, small, scope) => {
    const made = make("th", { scope }, words);
    if (small) made.append(make("small", { textContent: small }));
    return made;
  };
  table.replaceChildren(
    make("thead", {}, make("tr", {}, head(data.method, "", "col"), ...data.columns.map((one) => head(one, "", "col")))),
    make("tbody", {}, ...data.rows.map((row) =>
      make("tr", {}, head(row.name, row.by, "row"), ...row.squares.map(square)))),
  );
  list.replaceChildren(...[...data.legend, ...(data.note ? [["", ...data.note]] : [])].map(([kind, shape, words]) =>
    make("li", { className: kind }, make("span", { className: "shape", textContent: shape, ariaHidden: "true" }), words)));
  if (parentElement.host) parentElement.host.dataset.drawn = "";
  const chosen = table.querySelector("[aria-pressed=true]");  // on a narrow screen it may lie beyond the edge
  const beyond = chosen ? chosen.getBoundingClientRect().right - frame.getBoundingClientRect().right : 0;
  if (beyond > 0) frame.scrollLeft += beyond + 8;
  if (before) [...table.querySelectorAll("button")].find((one) => one.dataset.key === before)?.focus();
}
