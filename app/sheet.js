// The contact sheet of sheet.py: many pictures as tiles or as a table. Theta, the filters, the order and what is chosen
// live here, so that no rerun is waited for; Python hears of theta, the view and the labels once they have come to rest.
// `make`, `write`, `attribute`, `paletteFor`, `signPicture`, `shapeOf`, `placeOn` and `number` stand in live/.

const QUIET = 350; // milliseconds without a key until Python hears of theta
const LEFT_OUT = -2; // a label; -1 is unknown, 0 and on are classes, null is none
const FILTERS = ["all", "accepted", "rejected", "failed"];
const ORDERS = ["given", "high", "low", "near", "name", "class"];
const sheets = new WeakMap();

/** The pictures of a set come once, and are kept on the page beside those of one set before. */
const pictures = () => (window.anchorscopePictures ??= { sets: new Map(), waiting: new Set() });

class Sheet {
  constructor(root) {
    this.root = root;
    this.number = 0; // of the last word to Python
    this.labels = {};
    this.chosen = new Set();
    this.view = { as: "grid", order: "given", show: "all", near: "" };
    this.waits = () => this.ask();
    pictures().waiting.add(this.waits);
    new ResizeObserver(() => this.ask()).observe(root);
  }

  close() {
    pictures().waiting.delete(this.waits);
  }

  /** Called for each message. One that was written before the last word was heard changes nothing that moves here. */
  receive({ data, setStateValue, setTriggerValue }) {
    const first = !this.data;
    const anew = first || data.id !== this.data.id || JSON.stringify(data.words) !== JSON.stringify(this.data.words);
    this.tell = setStateValue;
    this.trigger = setTriggerValue;
    this.data = data;
    this.say = (name, values = {}) => data.words[name].replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
    if (first) this.number = data.heard;
    if (data.heard >= this.number && !this.held && !this.timer) {
      this.theta = data.theta;
      this.labels = { ...data.labels };
      this.view = { ...data.view };
    }
    if (anew) {
      const marks = new Set(data.rows.map((row) => row.mark));
      this.chosen = new Set([...this.chosen].filter((mark) => marks.has(mark)));
      this.build();
    }
    this.list();
    if (this.wanted && data.open === this.wanted) this.follow();
  }

  // --- what is said to Python ---

  word() {
    clearTimeout(this.timer);
    this.timer = null;
    const word = { number: ++this.number, ...this.view };
    if (this.moved) word.theta = this.theta;
    this.moved = false;
    this.tell("word", word);
    this.voice.textContent = this.summary();
  }

  soon(wait = QUIET) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.word(), wait);
  }

  move(theta) {
    if (theta === this.theta) return;
    this.theta = theta;
    this.moved = true;
    this.ask();
  }

  look(name, value) {
    this.view[name] = value;
    this.list();
    this.soon(0);
  }

  label(to) {
    const marks = this.data.rows.map((row) => row.mark).filter((mark) => this.chosen.has(mark));
    if (!marks.length) return;
    for (const mark of marks) {
      if (to === null) delete this.labels[mark];
      else this.labels[mark] = to;
    }
    if (this.timer) this.word();
    this.trigger("label", { number: ++this.number, marks, to });
    this.chosen.clear();
    this.ask();
  }

  open(mark) {
    this.wanted = mark;
    this.trigger("open", { number: ++this.number, mark });
  }

  /** The card of what was opened comes below: into sight with it, as soon as it is there. */
  async follow() {
    this.wanted = null;
    for (let tries = 0; tries < 40; tries++) {
      await new Promise((done) => setTimeout(done, 100));
      const card = document.querySelector(".st-key-opened");
      if (card?.querySelector("h2, h3, [role=alert]")) {
        return card.scrollIntoView({ block: card.offsetHeight > 0.8 * window.innerHeight ? "start" : "nearest" });
      }
    }
  }

  // --- what is built once ---

  build() {
    const { data, say } = this;
    const button = (name, act, more = {}) => make("button", { type: "button", class: name, click: act, ...more }, say(name));
    this.strip = this.builtStrip();
    this.filters = FILTERS.map((name) =>
      make("button", { type: "button", class: "filter", "data-show": name, click: () => this.look("show", name) }),
    );
    const choice = (name, options, more = {}) => {
      const box = make("select", { change: (event) => this.look(name, event.target.value), class: name, ...more });
      for (const [value, text] of options) box.append(make("option", { value }, text));
      return make("label", {}, make("span", {}, say(`by ${name}`)), box);
    };
    const near = choice("near", [["", say("every class")], ...data.names.map((name) => [name, name])]);
    const order = choice("order", ORDERS.map((name) => [name, say(`order ${name}`)]));
    this.ways = ["grid", "table"].map((name) =>
      make("button", { type: "button", class: "way", "data-as": name, click: () => this.look("as", name) }, say(name)),
    );
    this.goal = make("select", { class: "goal", "aria-label": say("label as") });
    for (const [value, text] of [
      ["", say("label as")], ...data.names.map((name, n) => [String(n), name]),
      ["-1", say("unknown")], [String(LEFT_OUT), say("left out")], ["none", say("no label")],
    ]) this.goal.append(make("option", { value }, text)); // prettier-ignore
    this.goal.addEventListener("change", () => this.ask());
    this.put = button("label", () => this.label(this.goal.value === "none" ? null : Number(this.goal.value)));
    this.count = make("span", { class: "count" });
    this.every = button("choose all", () => this.chooseAll());
    this.none = button("choose none", () => (this.chosen.clear(), this.ask()));
    this.voice = make("p", { role: "status", class: "voice" });
    this.frame = make("div", { class: "frame" });
    this.root.replaceChildren(
      this.strip,
      make("div", { class: "bar" },
        make("div", { class: "group", role: "group", "aria-label": say("show") }, ...this.filters),
        near, order,
        make("div", { class: "group ways", role: "group", "aria-label": say("view") }, ...this.ways)),
      make("div", { class: "bar choose" }, this.count, this.every, this.none, this.goal, this.put),
      this.frame,
      make("p", { class: "keys" }, say("keys")),
      this.voice,
    ); // prettier-ignore
    this.items = null;
  }

  /** Where the scores lie, and theta among them: a line to drag, and a slider to the keys. */
  builtStrip() {
    const { bars, scale, rows } = this.data;
    const place = (score) => Math.min(Math.max(placeOn(scale, score), 0), 1);
    const picture = make("svg", { viewBox: `0 -1 ${bars.known.length} 2`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const most = Math.max(...bars.known, ...bars.unknown, 1);
    bars.known.forEach((count, x) => picture.append(make("rect", { x, y: -count / most, width: 1, height: count / most, class: "known" })));
    bars.unknown.forEach((count, x) => picture.append(make("rect", { x, y: 0, width: 1, height: count / most, class: "unknown" })));
    this.ticks = rows.map((row) =>
      row.error ? null : make("i", { class: "tick", style: `left:${100 * place(row.score - row.base)}%` }),
    );
    this.line = make("div", { class: "theta" });
    this.beyond = make("div", { class: "beyond" });
    this.plot = make("div", { class: "plot", tabindex: 0, role: "slider", "aria-label": this.say("slider") },
      picture, this.beyond, ...this.ticks.filter(Boolean), this.line); // prettier-ignore
    const { choices } = this.data;
    this.plot.setAttribute("aria-valuemin", choices[0]);
    this.plot.setAttribute("aria-valuemax", choices.at(-1));
    const to = (event) => {
      const box = this.plot.getBoundingClientRect();
      this.move(nearestTo(choices, scoreAt(scale, Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1))));
    };
    this.plot.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.held = true;
      this.plot.setPointerCapture(event.pointerId);
      to(event);
    });
    this.plot.addEventListener("pointermove", (event) => this.held && to(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.plot.addEventListener(end, () => {
        if (!this.held) return;
        this.held = false;
        this.soon(0);
      });
    }
    this.plot.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey || !(steps || ["Home", "End"].includes(event.key))) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Home") this.move(choices[0]);
      else if (event.key === "End") this.move(choices.at(-1));
      else this.move(stepped(choices, this.theta, steps));
      this.soon();
    });
    this.where = make("output", { class: "where" });
    return make("div", { class: "strip" }, this.where, this.plot, make("p", { class: "legend" }, this.say("legend")));
  }

  // --- which are shown, and in which order ---

  rejected(row) {
    return !(row.score <= row.base + this.theta);
  }

  margin(row) {
    return row.score - (row.base + this.theta);
  }

  state(row) {
    return row.error ? "failed" : this.rejected(row) ? "rejected" : "accepted";
  }

  sorted() {
    const by = {
      given: () => 0,
      high: (a, b) => b.score - a.score,
      low: (a, b) => a.score - b.score,
      near: (a, b) => Math.abs(this.margin(a)) - Math.abs(this.margin(b)),
      name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
      class: (a, b) => a.nearest - b.nearest || a.score - b.score,
    }[this.view.order];
    const rows = this.data.rows.map((row, n) => ({ ...row, n }));
    const last = (a, b) => Boolean(a.error) - Boolean(b.error); // what failed has no score
    return rows.sort((a, b) => last(a, b) || by(a, b) || a.n - b.n);
  }

  /** Tiles or rows anew, in their order; theta alone never comes here. */
  list() {
    const focused = this.frame.contains(this.root.getRootNode().activeElement)
      ? this.root.getRootNode().activeElement.closest("[data-mark]")?.dataset.mark : null; // prettier-ignore
    const order = `${this.data.id} ${this.view.as} ${this.view.order} ${this.view.order === "near" ? this.theta : ""}`;
    if (!this.items || this.order !== order) {
      this.order = order;
      const table = this.view.as === "table";
      this.items = this.sorted().map((row) => (table ? this.tableRow(row) : this.tile(row)));
      const nodes = this.items.map(({ node }) => node);
      const say = this.say;
      const words = { "aria-multiselectable": "true", "aria-label": say("sheet") };
      const body = table
        ? make("table", { role: "grid", ...words },
            make("thead", {}, make("tr", {}, ...["", "picture", "file", "decision", "nearest", "score", "margin", "truth"].map(
              (name) => make("th", { scope: "col" }, name && say(name))))),
            make("tbody", {}, ...nodes))
        : make("div", { class: "tiles", role: "listbox", ...words }, ...nodes); // prettier-ignore
      this.frame.replaceChildren(body);
      body.addEventListener("keydown", (event) => this.key(event));
      this.sets = null;
      if (focused) this.items.find(({ row }) => row.mark === focused)?.node.focus({ preventScroll: true });
    }
    this.ask();
  }

  parts(row) {
    return { row, image: make("img", { alt: "", draggable: "false" }), decision: make("span", { class: "decision" }),
             margin: make("span", { class: "margin" }), truth: make("span", { class: "truth" }),
             near: make("span", { class: "near" }), box: make("span", { class: "box", "aria-hidden": "true" }) }; // prettier-ignore
  }

  finished(item, node) {
    const { row } = item;
    item.node = node;
    node.dataset.mark = row.mark;
    node.tabIndex = -1;
    node.addEventListener("click", (event) => {
      this.here = row.mark;
      if (event.target.closest(".box") || event.ctrlKey || event.metaKey) this.toggle(row.mark);
      else if (event.shiftKey) this.reach(row.mark);
      else this.open(row.mark);
      this.ask();
    });
    node.addEventListener("focus", () => {
      this.here = row.mark;
      this.ask();
    });
    return item;
  }

  tile(row) {
    const item = this.parts(row);
    return this.finished(item, make("div", { role: "option", class: "tile", title: row.name },
      make("div", { class: "shown" }, item.image, item.box),
      make("span", { class: "name" }, row.name), row.note ? make("span", { class: "note" }, row.note) : null, item.decision,
      item.near,
      row.error ? make("span", { class: "error" }, row.error)
        : make("span", { class: "score" }, `${this.say("score")} ${row.said}`),
      item.margin, item.truth)); // prettier-ignore
  }

  tableRow(row) {
    const item = this.parts(row);
    const cell = (...inside) => make("td", {}, ...inside);
    const rest = row.error
      ? [make("td", { class: "error", colspan: 3 }, row.error)]
      : [cell(this.data.names[row.nearest]), make("td", { class: "number" }, row.said), make("td", { class: "number" }, item.margin)];
    return this.finished(item, make("tr", {}, cell(item.box), cell(item.image), make("td", { class: "name", title: row.name }, row.note ? `${row.name} (${row.note})` : row.name),
      cell(item.decision), ...rest, cell(item.truth))); // prettier-ignore
  }

  // --- keys, and what is chosen ---

  get shown() {
    return this.items.filter(({ node }) => !node.hidden);
  }

  toggle(mark) {
    if (!this.chosen.delete(mark)) this.chosen.add(mark);
    this.anchor = mark;
    this.ask();
  }

  reach(mark) {
    const marks = this.shown.map(({ row }) => row.mark);
    const ends = [Math.max(marks.indexOf(this.anchor), 0), marks.indexOf(mark)].sort((a, b) => a - b);
    for (const one of marks.slice(ends[0], ends[1] + 1)) this.chosen.add(one);
    this.ask();
  }

  chooseAll() {
    for (const { row } of this.shown) if (!row.error) this.chosen.add(row.mark);
    this.ask();
  }

  key(event) {
    const { shown } = this;
    const at = shown.findIndex(({ node }) => node === event.target.closest("[data-mark]"));
    const { key } = event;
    if (at < 0 || event.altKey) return;
    const mark = shown[at].row.mark;
    let to = null;
    if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "a") this.chooseAll();
    else if (event.ctrlKey || event.metaKey) return;
    else if (key === " ") event.shiftKey ? this.reach(mark) : this.toggle(mark);
    else if (key === "Enter") this.open(mark);
    else if (key === "Escape") this.chosen.clear();
    else if (key === "Home") to = 0;
    else if (key === "End") to = shown.length - 1;
    else if (this.view.as === "grid" && key === "ArrowRight") to = at + 1;
    else if (this.view.as === "grid" && key === "ArrowLeft") to = at - 1;
    else if (key === "ArrowDown" || key === "ArrowUp") to = this.vertical(shown, at, key === "ArrowDown" ? 1 : -1);
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (to !== null && shown[to]) shown[to].node.focus();
    this.ask();
  }

  /** The item below or above: in the grid that of the next line in the same column, or its last. */
  vertical(shown, at, way) {
    const [first, next] = [shown[0], shown.findIndex(({ node }) => node.offsetTop > shown[0].node.offsetTop)];
    const columns = this.view.as === "table" || !first || next < 0 ? 1 : next;
    const to = at + way * columns;
    return to >= shown.length && Math.ceil((at + 1) / columns) < Math.ceil(shown.length / columns) ? shown.length - 1 : to;
  }

  // --- to the eye ---

  ask() {
    this.due ??= requestAnimationFrame(() => {
      this.due = null;
      if (this.items && this.root.isConnected) this.paint();
    });
  }

  truthOf(label) {
    if (label === undefined) return "";
    return label === LEFT_OUT ? this.say("left out") : label < 0 ? this.say("unknown") : this.data.names[label];
  }

  /** Whether the decision is what the label says: null where there is nothing to compare. */
  right(row, label) {
    if (label === undefined || label === LEFT_OUT || row.error) return null;
    return this.rejected(row) ? label < 0 : label === row.nearest;
  }

  counts() {
    const counts = { all: this.data.rows.length, accepted: 0, rejected: 0, failed: 0 };
    for (const row of this.data.rows) counts[this.state(row)] += 1;
    return counts;
  }

  summary() {
    const { accepted, rejected } = this.counts();
    return this.say("summary", { theta: number(this.theta), accepted, rejected });
  }

  paint() {
    const { data, say, view } = this;
    const palette = paletteFor(this.root, data.palettes);
    const counts = this.counts();
    const set = pictures().sets.get(data.pictures) ?? {};
    for (const button of this.filters) {
      const name = button.dataset.show;
      attribute(button, "aria-pressed", name === view.show);
      write(button, `${say(name)} ${counts[name]}`);
      button.hidden = name === "failed" && !counts.failed && view.show !== "failed";
    }
    for (const button of this.ways) attribute(button, "aria-pressed", button.dataset.as === view.as);
    for (const name of ["near", "order"]) {
      const box = this.root.querySelector(`select.${name}`);
      if (box.value !== view[name]) box.value = view[name];
    }
    const shown = [];
    for (const item of this.items) {
      const { row, node } = item;
      const state = this.state(row);
      const label = this.labels[row.mark];
      const right = this.right(row, label);
      node.hidden = (view.show !== "all" && view.show !== state) || (view.near !== "" && data.names[row.nearest] !== view.near);
      if (!node.hidden) shown.push(item);
      if (set[row.mark] && !item.image.getAttribute("src")) item.image.src = set[row.mark];
      item.image.hidden = !set[row.mark];
      const signs = `${state} ${palette.surface}`;
      if (item.signs !== signs) {
        item.signs = signs;
        attribute(node, "data-state", state);
        const sign = row.error ? null : signPicture({ shape: shapeOf(row.nearest, palette), hollow: state === "rejected", colour: palette.of(row.nearest) });
        const words = state === "failed" ? say("failed one") : state === "accepted" ? data.names[row.nearest] : say("rejected one");
        item.decision.replaceChildren(...[sign, make("span", {}, words)].filter(Boolean));
        item.decision.title = words;
        write(item.near, state === "rejected" ? say("near", { name: data.names[row.nearest] }) : "");
      }
      const margin = row.error ? "" : `${this.margin(row) > 0 ? "+" : "−"}${number(Math.abs(this.margin(row)))}`;
      write(item.margin, view.as === "grid" && margin ? `${say("short margin")} ${margin}` : margin);
      const truth = this.truthOf(label);
      write(item.truth, truth && `${right === null ? "" : right ? "✓ " : "✗ "}${truth}`);
      attribute(item.truth, "data-right", right);
      const chosen = this.chosen.has(row.mark);
      attribute(node, "aria-selected", chosen);
      attribute(node, "data-open", row.mark === data.open);
      const words = row.error ? `${row.name}: ${say("failed one")}. ${row.error}` : say("one", {
        file: row.name, decision: say(state === "accepted" ? "accepted one" : "rejected one"),
        nearest: data.names[row.nearest], score: row.said, margin,
      }); // prettier-ignore
      attribute(node, "aria-label", truth ? `${words} ${say("labelled", { truth })}` : words);
    }
    const here = shown.find(({ row }) => row.mark === this.here) ?? shown[0];
    for (const item of this.items) item.node.tabIndex = item === here ? 0 : -1;
    this.frame.classList.toggle("empty", !shown.length);
    this.frame.dataset.empty = say("nothing");
    write(this.count, say("chosen", { n: this.chosen.size, shown: shown.length }));
    this.none.disabled = !this.chosen.size;
    this.put.disabled = !this.chosen.size || this.goal.value === "";
    this.paintStrip();
  }

  paintStrip() {
    const { data } = this;
    const at = 100 * Math.min(Math.max(placeOn(data.scale, this.theta), 0), 1);
    this.line.style.left = `${at}%`;
    this.beyond.style.left = `${at}%`;
    data.rows.forEach((row, n) => {
      const label = this.labels[row.mark];
      const kind = label === undefined ? "none" : label === LEFT_OUT ? "out" : label < 0 ? "unknown" : "known";
      if (this.ticks[n]) attribute(this.ticks[n], "data-label", kind);
    });
    write(this.where, this.summary());
    attribute(this.plot, "aria-valuenow", this.theta);
    attribute(this.plot, "aria-valuetext", this.summary());
  }
}

function nearestTo(choices, value) {
  return choices.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best));
}

/** The choice so many steps from a value that may lie between two. */
function stepped(choices, value, steps) {
  const above = choices.filter((one) => one > value);
  const below = choices.filter((one) => one < value).reverse();
  const side = steps > 0 ? above : below;
  return side[Math.min(Math.abs(steps), side.length) - 1] ?? value;
}

export default function sheet(component) {
  const { data, parentElement: place } = component;
  if (data.set) {
    // the pictures alone: they show nothing here
    const { sets, waiting } = pictures();
    sets.delete(data.set);
    sets.set(data.set, data.shown);
    for (const old of [...sets.keys()].slice(0, -2)) sets.delete(old);
    for (const tell of waiting) tell();
    return undefined;
  }
  let view = sheets.get(place);
  if (!view) {
    const root = make("div", { class: "sheet" });
    for (const former of place.querySelectorAll(".sheet")) former.remove();
    place.append(root);
    view = new Sheet(root);
    sheets.set(place, view);
  }
  view.receive(component);
  stands(place);
  return () => setTimeout(() => place.isConnected || (view.close(), sheets.delete(place)));
}
