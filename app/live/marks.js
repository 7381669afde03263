// Which marks are drawn, and how: those of one class or one decision alone, how far one sees through them, what lies on
// top where they overlap, or in their place how many lie where.

const DECISIONS = {
  accepted: (known, accepted) => accepted,
  rejected: (known, accepted) => !accepted,
  mistakes: (known, accepted) => known !== accepted,
};

/** A fixed order of N rows in which no group lies on top of another: a shuffle, the same every time. */
function shuffled(count) {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  let state = 1;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[other]] = [order[other], order[i]];
  }
  return order;
}

class Marks {
  constructor(space) {
    this.space = space;
    const { say, entries, state } = space;
    const changed = (name, value) => (space.set(name, value), space.settleSoon());
    const select = (label, options, chosen) => {
      const node = make(
        "select",
        { "aria-label": label, change: () => chosen(node.selectedIndex) },
        ...options.map((said) => make("option", {}, said)),
      );
      return node;
    };
    // the last choice says that some are hidden by the legend; it cannot be made here
    this.entry = select(
      say("Images of which class"),
      [say("all classes"), ...entries.map(({ name }) => say("only {name}", { name })), say("some classes")],
      (n) => changed("hidden", n ? entries.filter((_, at) => at !== n - 1).map(({ id }) => id) : []),
    );
    this.entry.lastChild.disabled = true;
    this.decisions = ["all", ...Object.keys(DECISIONS)];
    this.decision = select(
      say("Images of which decision"),
      [say("all decisions"), say("only accepted"), say("only rejected"), say("only mistakes")],
      (n) => changed("decision", this.decisions[n]),
    );
    this.orders = ["mixed", "unknown", "known"];
    this.top = select(
      say("On top where marks overlap"),
      [say("nothing: mixed"), say("what was never seen"), say("knowns")],
      (n) => changed("top", this.orders[n]),
    );
    this.opacity = space.range(
      say("Opacity of the marks"),
      (place) => space.set("opacity", Math.max(0.05, Math.round(20 * place) / 20)),
      say("Opacity"),
    );
    this.density = make(
      "button",
      { type: "button", class: "chip", click: () => changed("density", !state.density) },
      say("Density"),
    );
    const titled = (title, ...nodes) =>
      make("div", { class: "choice" }, make("span", { class: "label" }, title), ...nodes);
    this.topChoice = titled(say("On top"), this.top);
    this.node = make(
      "div",
      { class: "controls shows" },
      titled(say("Show"), this.entry, this.decision),
      this.topChoice,
      this.opacity.node,
      this.density,
    );
  }

  draw() {
    const { space } = this;
    const { entries, cast, state } = space;
    const left = entries.flatMap(({ id }, n) => (state.hidden.includes(id) ? [] : [n]));
    const all = left.length === entries.length;
    this.entry.selectedIndex = all ? 0 : left.length === 1 ? left[0] + 1 : entries.length + 1;
    if (this.cast !== cast) {
      this.cast = cast;
      const present = new Uint8Array(entries.length);
      for (const i of cast.rows) present[cast.entry[i]] = 1;
      entries.forEach((_, n) => (this.entry.options[n + 1].hidden = !present[n]));
    }
    this.decision.selectedIndex = this.decisions.indexOf(state.decision);
    this.top.selectedIndex = this.orders.indexOf(state.top);
    this.topChoice.hidden = state.density;
    this.opacity.node.hidden = state.density;
    const place = String(Math.round(state.opacity * 1000));
    if (!space.held && this.opacity.slider.value !== place) this.opacity.slider.value = place;
    write(this.opacity.value, percent(state.opacity, 0));
    attribute(this.opacity.slider, "aria-valuetext", percent(state.opacity, 0));
    attribute(this.density, "aria-pressed", state.density);
  }
}
