// The legend: what lies in the cloud, how much of it is accepted, and how far a class mean is from its anchor.

/** Known classes, classes never seen (together where they are many), further sets; and which one each image is of. */
function entriesOf(feed, say) {
  const { header, labels, classes, split, width } = feed;
  const entries = header.known.map((name, c) => ({ id: `known:${c}`, name, label: c }));
  const unseen = new Set();
  for (let i = 0; i < feed.count; i++) if (labels[i] < 0 && split[i] < 2 && classes?.[i] >= 0) unseen.add(classes[i]);
  const single = unseen.size <= 8;
  const places = new Map();
  const placeOf = (id, name) => {
    if (!places.has(id)) {
      places.set(id, entries.length);
      entries.push({ id, name, label: -1 });
    }
    return places.get(id);
  };
  for (const c of [...unseen].sort((a, b) => a - b)) {
    if (single) placeOf(`class:${c}`, header.names?.[c] ?? String(c));
  }
  const entryOf = new Int16Array(feed.count);
  for (let i = 0; i < feed.count; i++) {
    if (labels[i] >= 0) entryOf[i] = labels[i];
    else if (split[i] > 1) entryOf[i] = placeOf(`set:${split[i]}`, header.sets?.[split[i]] ? say(header.sets[split[i]]) : say("never seen"));
    else if (single && classes?.[i] >= 0) entryOf[i] = places.get(`class:${classes[i]}`);
    else entryOf[i] = placeOf("unknown", single ? say("never seen") : say("{n} classes never seen", { n: unseen.size }));
  }
  const { anchors, centres } = feed;
  for (let c = 0; anchors && c < width; c++) {
    let sum = 0;
    for (let k = 0; k < width; k++) sum += (anchors[c * width + k] - centres[c * width + k]) ** 2;
    entries[c].off = Math.sqrt(sum);
  }
  return { entries, entryOf };
}

class Legend {
  constructor(space) {
    this.space = space;
    const { say } = space;
    this.lines = space.entries.map((entry, n) => {
      const sign = make("span", { class: "mark" });
      const count = make("span", { class: "n" });
      const picked = make("span", { class: "n picked" });
      const off = make("span", { class: "n" }, entry.off === undefined ? "" : number(entry.off));
      const node = make(
        "button",
        {
          type: "button",
          class: "entry",
          click: () => this.toggle(entry.id),
          pointerenter: () => space.light(n),
          pointerleave: () => space.light(-1),
          focus: () => node.matches(":focus-visible") && space.light(n),
          blur: () => space.light(-1),
        },
        sign,
        make("span", { class: "name", title: entry.name }, entry.name),
        picked,
        count,
        off,
      );
      return { node, sign, count, picked };
    });
    const anchored = space.entries.some((entry) => entry.off !== undefined);
    const key = (sign, said, size = 18) => make("span", { class: "swatch" }, signPicture(sign, size), said);
    const text = "currentColor";
    const head = make(
      "div",
      { class: "head" },
      make("span"),
      make("span", { class: "name" }, say("class")),
      make("span", { class: "n picked" }, say("selected")),
      make("span", { class: "n" }, say("accepted")),
      make(
        "span",
        { class: "n", title: say("distance of the class mean from its anchor") },
        anchored ? say("mean to anchor") : "",
      ),
    );
    this.node = make(
      "div",
      { class: "legend" },
      head,
      make("div", { class: "entries" }, ...this.lines.map(({ node }) => node)),
      make(
        "div",
        { class: "keys" },
        key({ shape: "circle", colour: text }, say("accepted")),
        key({ shape: "circle", hollow: true, colour: text }, say("rejected")),
        key({ shape: "cross", hollow: true, colour: "var(--unknown)" }, say("never seen")),
        key({ shape: "cross", ring: true, hollow: true, colour: "var(--unknown)" }, say("never seen, accepted")),
        anchored && key({ shape: "star", colour: text }, say("anchor")),
        key({ shape: "circle", hollow: true, colour: "var(--st-text-color)" }, say("class mean"), 26),
      ),
    );
    this.node.classList.toggle("anchored", anchored);
  }

  toggle(id) {
    const { hidden } = this.space.state;
    this.space.set("hidden", hidden.includes(id) ? hidden.filter((other) => other !== id) : [...hidden, id]);
    this.space.settleSoon();
  }

  /** Accepted, all and selected of every entry, and the sentence for those who do not see the picture. */
  count() {
    const { cast, theta, entries, entryOf, palette, state } = this.space;
    if (this.counted?.cast !== cast || this.counted.theta !== theta) {
      const [all, accepted] = [new Int32Array(entries.length), new Int32Array(entries.length)];
      for (const i of cast.rows) {
        all[cast.entry[i]]++;
        if (cast.score[i] <= theta) accepted[cast.entry[i]]++;
      }
      this.counted = { cast, theta, all, accepted };
    }
    const { all, accepted } = this.counted;
    const picked = new Int32Array(entries.length);
    const { selection, hidden } = state;
    if (!cast.film) for (const i of selection) picked[entryOf[i]]++;
    this.node.classList.toggle("picking", selection.length > 0 && !cast.film);
    this.lines.forEach((line, n) => {
      line.node.hidden = !all[n];
      write(line.picked, picked[n] ? String(picked[n]) : "");
      write(line.count, `${accepted[n]}/${all[n]}`);
      attribute(line.node, "aria-pressed", !hidden.includes(entries[n].id));
      if (line.palette !== palette) {
        line.palette = palette;
        line.sign.replaceChildren(signPicture(signOf(entries[n].label, entries[n].label >= 0, palette), 18));
      }
    });
    const sum = (counts) => counts.reduce((a, b) => a + b, 0);
    attribute(
      this.space.canvas,
      "aria-label",
      this.space.say("Cloud of {all} images, {accepted} of them accepted", {
        all: sum(all),
        accepted: sum(accepted),
      }),
    );
  }
}
