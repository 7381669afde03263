// What theta decides: the counts of every class, and the images that lie nearest to it on either side.

const WIDE = 60; // known classes above which a table of all by all is more than a browser, or a person, can hold

/** The column of the table in which a decision (C for unknown) about an image of this truth (C for unknown) counts. */
function columnOf(truth, called, width) {
  if (width <= WIDE) return called;
  return called === width ? 2 : called === truth ? 0 : 1;
}

class Confusion {
  constructor(lab) {
    this.lab = lab;
    const { say } = lab;
    const { header, width } = lab.feed;
    // the truth of an unknown is that it was never seen, the decision that it is rejected
    this.titles = [...header.known, say("never seen")];
    this.width = width;
    this.columns = width > WIDE ? [say("its own class"), say("another class")] : [...header.known];
    this.columns.push(say("rejected"));
    const head = make(
      "tr",
      {},
      make("td", { class: "corner" }, make("span", {}, say("decision →")), make("span", {}, say("truth ↓"))),
      ...this.columns.map((title, n) => {
        const rejects = n === this.columns.length - 1 && "rejects";
        const all = lab.counted(() => ({ truth: width > WIDE && !n ? "known" : undefined, called: this.calledOf(n) }));
        all.update(title);
        return make("th", { scope: "col", title, class: rejects }, make("span", {}, all.node));
      }),
    );
    this.cells = this.titles.map((title, truth) => {
      const cells = this.columns.map((called, column) =>
        make(
          "td",
          { class: columnOf(truth, truth, width) === column ? "hit" : "" },
          make("button", {
            type: "button",
            click: () => lab.look(truth, column),
            dblclick: () => lab.state.asks && lab.see(this.asked({ truth, called: column })),
          }),
        ),
      );
      const name = lab.counted(() => ({ truth: this.truthOf(truth) }));
      const row = make("tr", {}, make("th", { scope: "row", title }, name.node), ...cells);
      return { row, cells, name };
    });
    this.all = lab.counted(() => this.asked(lab.looked));
    const size = this.columns.length > 13 ? "small" : this.columns.length > 9 ? "middle" : "";
    const table = make(
      "div",
      { class: "scroll" },
      make(
        "table",
        { class: `confusion ${size}`, role: "grid" },
        make("caption", { class: "unseen" }, say("Counts of images: truth down, decision across")),
        make("thead", {}, (this.head = head)),
        make("tbody", {}, ...this.cells.map(({ row }) => row)),
      ),
    );
    this.node = make("div", {}, table, this.all.node);
    this.stop = roving(table, () => this.buttons());
    new ResizeObserver(() => this.fit()).observe(this.node);
  }

  /** Heads as short as the place is narrow; what they stand for is their title. */
  fit() {
    if (this.node.clientWidth === this.fitted) return;
    this.fitted = this.node.clientWidth;
    const heads = [...this.node.querySelectorAll("thead th .seen")];
    fitNames(heads.slice(0, -1), this.columns.slice(0, -1)); // the last has room of its own
  }

  /** Rows of what can be pressed, null where nothing can: the names of the decisions, then each class and its counts. */
  buttons() {
    const shown = [this.head, ...this.cells.filter(({ row }) => !row.hidden).map(({ row }) => row)];
    return shown.map((row) => [...row.children].map((cell) => cell.querySelector("button:enabled")));
  }

  truthOf(truth) {
    return truth === this.width ? "never" : truth;
  }

  /** What the images of a cell have in common, or of the whole table. */
  asked(cell) {
    if (!cell) return {};
    const { truth, called } = cell;
    return { truth: this.truthOf(truth), called: this.calledOf(called) };
  }

  calledOf(column) {
    if (this.width > WIDE) return ["right", "another", "rejected"][column];
    return column === this.width ? "rejected" : column;
  }

  fill(table) {
    const { say } = this.lab;
    const size = this.titles.length;
    const { looked, judged } = this.lab;
    let counted = judged.rows.length;
    this.cells.forEach(({ row, cells, name }, truth) => {
      const counts = new Int32Array(this.columns.length);
      table.subarray(truth * size, (truth + 1) * size).forEach((n, called) => {
        counts[columnOf(truth, called, this.width)] += n;
      });
      const of = counts.reduce((a, b) => a + b, 0);
      row.hidden = !of;
      if (looked?.truth === truth) counted = counts[looked.called];
      if (!of) return;
      name.update((truth === this.width ? "× " : "") + this.titles[truth]);
      cells.forEach((cell, column) => {
        const n = counts[column];
        if (cell.dataset.said === `${n}/${of}`) return;
        cell.dataset.said = `${n}/${of}`;
        write(cell.firstChild, n ? String(n) : "·");
        cell.classList.toggle("nought", !n);
        cell.style.setProperty("--share", (n / of).toFixed(3));
        const words = { n, of, truth: this.titles[truth], called: this.columns[column] };
        cell.title = say("{truth} → {called}: {n} of {of}", words);
        attribute(cell.firstChild, "aria-label", cell.title);
      });
    });
    const shown = this.cells.map(({ row }) => !row.hidden).join();
    if (shown !== this.shown) this.stop(this.cells.find(({ row }) => !row.hidden)?.cells[0].firstChild);
    this.shown = shown;
    this.all.node.hidden = !this.lab.state.asks;
    const words = looked && { n: counted, truth: this.titles[looked.truth], called: this.columns[looked.called] };
    this.all.update(
      looked ? say("See all {n}: {truth} → {called}", words) : say("See all {n} images", { n: counted }),
      counted > 0,
    );
  }
}

class Borderline {
  constructor(lab) {
    this.lab = lab;
    this.below = this.gallery(lab.say("accepted, highest scores"), { called: "accepted", order: "down" });
    this.above = this.gallery(lab.say("rejected, lowest scores"), { called: "rejected", order: "up" });
    this.only = make("button", { type: "button", class: "chip", "aria-pressed": "true", click: () => lab.look(null) });
    this.nodes = [this.only, this.below.node, this.above.node];
  }

  /** asked: what its images have in common, where no cell of the table is looked at. */
  gallery(title, asked) {
    const all = () => ({ ...asked, ...this.lab.confusion.asked(this.lab.looked) });
    const count = this.lab.counted(all);
    const tiles = make("div", { class: "tiles" });
    const none = make("p", { class: "none" }, this.lab.say("no image"));
    const node = make("div", { class: "gallery" }, make("h4", {}, title, make("span", { class: "count" }, count.node)), tiles, none);
    return { node, tiles, none, count, asked: all, shown: [] };
  }

  /** How many images there is room for. */
  measure() {
    const across = Math.max(3, Math.floor((this.below.tiles.clientWidth + 8) / 112));
    this.most = across < 5 ? 2 * across : across; // two lines where they are short
  }

  fill(theta) {
    const { judged, looked, say, confusion } = this.lab;
    const { score } = judged;
    const rows = looked ? this.rowsOf(looked, theta) : judged.rows;
    const { below, above } = borderline(theta, score, rows, this.most);
    const accepted = rows.reduce((count, row) => count + (score[row] <= theta), 0);
    this.fillGallery(this.below, below, accepted);
    this.fillGallery(this.above, above, rows.length - accepted);
    this.only.hidden = !looked;
    if (!looked) return;
    const words = { truth: confusion.titles[looked.truth], called: confusion.columns[looked.called] };
    write(this.only, say("only {truth} → {called}", words));
  }

  /** The images that a cell of the confusion table counts. */
  rowsOf({ truth, called }, theta) {
    const { feed, judged } = this.lab;
    const { score, label, rows } = judged;
    const { width } = feed;
    return rows.filter((row) => {
      const own = feed.labels[row] < 0 ? width : feed.labels[row];
      return own === truth && columnOf(truth, score[row] > theta ? width : label[row], width) === called;
    });
  }

  fillGallery(gallery, rows, count) {
    gallery.count.update(String(count), count > 0);
    gallery.none.hidden = rows.length > 0;
    while (gallery.shown.length < rows.length) {
      const tile = this.imageTile();
      gallery.shown.push(tile);
      gallery.tiles.append(tile.node);
    }
    gallery.shown.forEach((tile, n) => {
      tile.node.hidden = n >= rows.length;
      if (n < rows.length) tile.show(rows[n]);
    });
  }

  /** A small image with its truth, its nearest class and its score; wrong decisions marked by shape and word. */
  imageTile() {
    const canvas = make("canvas", { "aria-hidden": "true" });
    const sign = make("span", { class: "mark" });
    const truth = make("span", { class: "truth" });
    const nearest = make("span", { class: "nearest" });
    const value = make("span", { class: "score" });
    const word = make("span", { class: "word" });
    let row = -1;
    const node = make(
      "button",
      { type: "button", class: "image", click: () => this.lab.pick(row) },
      canvas,
      make("span", { class: "line" }, sign, truth),
      nearest,
      value,
      word,
    );
    const show = (next) => {
      row = next;
      this.describe(row, { node, canvas, sign, truth, nearest, value, word }, () => show(row));
    };
    return { node, show };
  }

  describe(row, part, again) {
    const { say, feed, judged, palette, state, theta } = this.lab;
    const { score, label } = judged;
    const accepted = score[row] <= theta;
    const isKnown = feed.labels[row] >= 0;
    const words = { truth: this.lab.truth(row), nearest: feed.header.known[label[row]], score: number(score[row]) };
    part.canvas.hidden = !drawSprite(part.canvas, feed, row, 64, again);
    part.sign.replaceChildren(signPicture(signOf(feed.labels[row], accepted, palette), 16));
    write(part.truth, words.truth);
    write(part.nearest, say("nearest {nearest}", words));
    write(part.value, words.score);
    const odd = isKnown !== accepted;
    write(part.word, odd ? (isKnown ? say("known, rejected") : say("never seen, accepted")) : "");
    part.node.classList.toggle("odd", odd);
    attribute(part.node, "aria-pressed", state.selection.includes(row));
    attribute(
      part.node,
      "aria-label",
      `${say("Truth {truth}, nearest class {nearest}, score {score}.", words)} ${part.word.textContent}`,
    );
  }
}
