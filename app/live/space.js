// The cloud of logits: six pictures of it, with a legend that counts, theta, a lasso, and the training epoch by epoch.

const DEPTHS = [1.18, 1, 0.84]; // of a sign's size: near, middle, far

class Space extends View {
  moved = ["theta", "temperature", "eps", "sets", "selection", "view", "order", "pair", "triple", "hidden", "epoch"];
  turn = 2.15; // from where all three axes of the 3-D picture come towards the viewer
  tilt = 0.38;
  spot = -1; // the entry of the legend that is pointed at
  wantsLasso = { flat: matchMedia("(pointer: fine)").matches, solid: false };

  prepare() {
    super.prepare();
    this.pictures = picturesOf(this.feed);
    if (!this.pictures.includes(this.state.view)) [this.state.view] = this.pictures;
  }

  build() {
    const { say } = this;
    this.voice = make("p", { class: "unseen", role: "status", "aria-live": "polite" });
    Object.assign(this, entriesOf(this.feed, say));
    this.temperature = this.temperatureRange();
    this.eps = this.epsChoice();
    this.sets = this.setChoice(0);
    this.rule = this.ruleButton();
    const move = (place) => this.set("theta", scoreAt(this.judged.scale, place));
    this.thetaRange = this.range(say("θ: reject above it"), move, "θ");
    this.note = make("p", { class: "note" });
    this.pointer = new Pointer(this);
    this.film = new Film(this);
    this.legend = new Legend(this);
    this.picks = new Picks(this);
    this.sets.node.append(this.film.chip);
    this.root.append(
      make("div", { class: "bar" }, this.buildViews(), this.buildChoices()),
      make(
        "div",
        { class: "split" },
        make(
          "div",
          { class: "middle" },
          this.buildStage(),
          this.note,
          this.film.node,
          make("div", { class: "controls theta" }, this.thetaRange.node, this.rule.node),
          make("div", { class: "controls" }, this.temperature.node, this.eps.node),
          make("div", { class: "controls" }, this.sets.node),
        ),
        make("aside", { class: "beside" }, this.legend.node, this.picks.node),
      ),
      this.voice,
    );
  }

  // --- which picture ---

  buildViews() {
    const { say } = this;
    const titles = {
      wheel: say("Wheel"),
      solid: say("3-D"),
      plane: say("Plane"),
      strip: say("Strip"),
      pca: say("PCA"),
      umap: say("UMAP"),
    };
    this.tabs = this.pictures.map((name) =>
      make("button", { type: "button", role: "radio", click: () => this.choose(name) }, titles[name]),
    );
    return make(
      "div",
      {
        class: "tabs",
        role: "radiogroup",
        "aria-label": say("Picture"),
        keydown: (event) => {
          const way = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
          if (!way) return;
          event.preventDefault();
          const next = (this.pictures.indexOf(this.state.view) + way + this.pictures.length) % this.pictures.length;
          this.tabs[next].focus();
          this.choose(this.pictures[next]);
        },
      },
      ...this.tabs,
    );
  }

  choose(name) {
    this.point(-1);
    this.set("view", name);
    this.settleSoon();
  }

  /** The choices that a picture has: its classes, and whether a drag selects. */
  buildChoices() {
    const { say, feed } = this;
    const select = (name, n, label) =>
      make(
        "select",
        {
          "aria-label": label,
          change: (event) => {
            const classes = [...this.state[name]];
            const chosen = event.target.selectedIndex;
            const before = classes.indexOf(chosen); // a class that stands elsewhere changes places with this one
            if (before >= 0) classes[before] = classes[n];
            classes[n] = chosen;
            this.set(name, classes);
            this.settleSoon();
          },
        },
        ...feed.header.known.map((title) => make("option", {}, title)),
      );
    this.pairs = [select("pair", 0, say("Class across")), select("pair", 1, say("Class upwards"))];
    this.triples = [0, 1, 2].map((n) => select("triple", n, say("Class {n} of three", { n: n + 1 })));
    this.pairChoice = make("div", { class: "choice" }, this.pairs[0], "×", this.pairs[1]);
    this.tripleChoice = make("div", { class: "choice" }, ...this.triples);
    this.lassoButton = make(
      "button",
      {
        type: "button",
        class: "chip",
        click: () => ((this.wantsLasso[this.kind] = !this.wantsLasso[this.kind]), this.ask("tool")),
      },
      say("Lasso"),
    );
    return make("div", { class: "choices" }, this.pairChoice, this.tripleChoice, this.lassoButton);
  }

  get kind() {
    return this.state.view === "solid" ? "solid" : "flat";
  }

  drawChoices() {
    const { view, pair, triple } = this.state;
    this.tabs.forEach((tab, n) => {
      const chosen = this.pictures[n] === view;
      attribute(tab, "aria-checked", chosen);
      attribute(tab, "tabindex", chosen ? 0 : -1);
    });
    this.pairChoice.hidden = view !== "plane" || this.feed.width < 3;
    this.tripleChoice.hidden = view !== "solid" || this.feed.width < 4;
    this.pairs.forEach((select, n) => (select.selectedIndex = pair[n]));
    this.triples.forEach((select, n) => (select.selectedIndex = triple[n]));
    attribute(this.lassoButton, "aria-pressed", this.wantsLasso[this.kind]);
    this.stage.style.touchAction = view === "solid" || this.wantsLasso[this.kind] ? "none" : "pan-y";
    this.stage.classList.toggle("turns", view === "solid" && !this.wantsLasso.solid);
  }

  // --- the stage ---

  buildStage() {
    const { say, pointer } = this;
    this.canvas = make("canvas", {
      tabindex: 0,
      role: "application",
      "aria-description": [
        say("Left and right go through the classes, up and down through their images by score."),
        say("Enter picks one, Escape clears. In 3-D the arrow keys turn, and with Shift they go through the images."),
      ].join(" "),
    });
    this.paper = new Paper(this.canvas);
    this.names = this.feed.header.known.map((name, c) => this.rimName(name, c));
    this.stage = make("div", { class: "stage" }, this.canvas, ...this.names, pointer.tip);
    pointer.attach(this.stage, this.canvas);
    return this.stage;
  }

  /** The name of a class at the rim of the wheel, to be dragged or moved by the arrow keys. */
  rimName(name, c) {
    const shift = (to) => {
      const order = this.state.order.filter((other) => other !== c);
      order.splice(to, 0, c);
      if (order.join() !== this.state.order.join()) this.set("order", order);
    };
    let moving = false;
    const end = () => {
      if (!moving) return;
      moving = false;
      this.release();
    };
    const node = make(
      "button",
      {
        type: "button",
        class: "rim",
        title: this.say("Drag, or move with the arrow keys"),
        pointerdown: (event) => {
          event.stopPropagation();
          node.setPointerCapture(event.pointerId);
          moving = true;
          this.hold();
        },
        pointermove: (event) => {
          if (!moving) return;
          event.stopPropagation();
          shift(this.picture.placeAt(...this.pointer.placeOf(event)));
        },
        pointerup: end,
        pointercancel: end,
        keydown: (event) => {
          const way = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
          if (!way) return;
          event.preventDefault();
          const { order } = this.state;
          shift((order.indexOf(c) + way + order.length) % order.length);
          this.settleSoon();
        },
      },
      name,
    );
    return node;
  }

  // --- drawing ---

  draw(due) {
    this.film.follow();
    if (this.film.playing) this.film.advance();
    const has = (...names) => names.some((name) => due.has(name));
    if (has("scores", "theme")) {
      this.temperature.update();
      this.eps.update();
    }
    if (has("size", "theme")) {
      this.stamps = [];
      const wide = this.stage.clientWidth;
      const tall = Math.min(this.height, Math.max(340, wide)); // no taller than wide where it is narrow
      this.stage.style.height = `${tall}px`;
      this.paper.fit(wide, tall);
      this.palette.quiet = getComputedStyle(this.note).color;
      this.font = getComputedStyle(this.root).fontFamily;
    }
    this.drawChoices();
    this.film.draw();
    this.sets.update(this.film.on);
    if (has("scores", "film")) this.cast = this.film.on ? this.film.cast() : this.castOfImages();
    if (has("scores", "size", "theme", "film", "view", "order", "pair", "triple", "turn")) this.layOut();
    if (has("scores", "film", "hidden", "view")) this.drawn = null;
    this.paint();
    this.drawTheta();
    this.legend.count();
    if (has("selection", "scores", "film")) this.picks.fill();
    this.pointer.showTip();
    if (has("scores")) this.speak();
    if (this.film.playing) this.ask("film");
  }

  /** Who is drawn: all images of the chosen sets. */
  castOfImages() {
    const { feed, judged } = this;
    const { score, label, rows } = judged;
    const logits = logitsOf(feed, this.state.eps);
    return { logits, extent: feed.logits, score, label, labels: feed.labels, entry: this.entryOf, rows };
  }

  layOut() {
    const { feed, state, cast, palette, say, turn, tilt } = this;
    const { width, height } = this.paper;
    const view = {
      feed,
      state,
      width,
      height,
      palette,
      say,
      turn,
      tilt,
      extent: cast.extent,
      slice: !this.extra,
      scale: cast.film ? this.film.scale() : this.judged.scale,
      text: (...rest) => this.text(...rest),
    };
    this.picture = PICTURES[state.view](view);
    this.paper.frame(palette.surface, (context) => this.picture.frame(context));
    this.places = this.picture.place(cast);
    this.marks = {
      anchors: feed.anchors && this.picture.points(feed.anchors),
      means: this.picture.points(feed.centres),
    };
    this.grid = null;
    this.drawn = null;
    this.placeNames();
    const ends =
      state.centres === "anchors" && feed.anchors
        ? say("Judged by distances to the anchors.")
        : say("Judged by where the class means end up.");
    const film = cast.film && CENTRED.includes(state.scorer) ? [ends] : [];
    if (cast.film && state.eps) film.push(say("The images of the film are not moved by ε."));
    write(this.note, [...this.picture.note, ...film].join(" "));
  }

  text(context, said, x, y, align, weight = 400) {
    context.font = `${weight} 12.5px ${this.font}`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillStyle = weight > 400 ? this.palette.text : this.palette.quiet;
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.strokeStyle = this.palette.surface;
    context.strokeText(said, x, y);
    context.fillText(said, x, y);
    context.lineWidth = 1;
    context.strokeStyle = this.palette.faint;
  }

  placeNames() {
    const rim = new Map((this.picture.rim ?? []).map((place) => [place.c, place]));
    this.names.forEach((node, c) => {
      const place = rim.get(c);
      node.hidden = !place;
      if (!place) return;
      const across = { "-1": -100, 0: -50, 1: 0 }[place.side];
      node.style.transform = `translate(${place.x}px,${place.y}px) translate(${across}%,-50%)`;
      attribute(
        node,
        "aria-label",
        this.say("{name}, place {place} of {count} around the wheel", {
          name: this.feed.header.known[c],
          place: place.place + 1,
          count: this.feed.width,
        }),
      );
    });
  }

  /** The rows that are drawn, unknowns and knowns apart; in 3-D the farthest first. */
  shown() {
    if (this.drawn) return this.drawn;
    const { cast, places } = this;
    const hidden = this.entries.map((entry) => this.state.hidden.includes(entry.id));
    const rows = cast.rows.filter((i) => !hidden[cast.entry[i]] && !Number.isNaN(places[2 * i]));
    const { depth } = this.picture;
    const sorted = depth ? byDepth(rows, depth) : rows;
    const limits = depth && [1, 2].map((n) => quantile(ascending(rows.map((i) => depth[i])), n / 3));
    this.drawn = {
      rows,
      known: sorted.filter((i) => cast.labels[i] >= 0),
      unknown: sorted.filter((i) => cast.labels[i] < 0),
      level: depth ? (i) => (depth[i] < limits[0] ? 0 : depth[i] < limits[1] ? 1 : 2) : () => 1,
    };
    const n = rows.length;
    this.radius = n < 500 ? 5 : n < 2000 ? 4 : n < 6000 ? 3.2 : n < 12000 ? 2.7 : 2.3;
    return this.drawn;
  }

  stamp(entry, accepted, level, faint) {
    const need = (((entry * 2 + accepted) * 3 + level) * 2 + faint) * 16 + Math.round(this.radius * 3);
    let stamp = this.stamps[need];
    if (!stamp) {
      const sign = signOf(this.entries[entry].label, Boolean(accepted), this.palette);
      const strength = faint ? 0.2 : sign.shape === "cross" && !accepted ? 0.7 : 1;
      stamp = stampOf(sign, this.radius * DEPTHS[level], this.paper.scale, this.paper.stride, strength);
      this.stamps[need] = stamp;
    }
    return stamp;
  }

  paint() {
    const { paper, places, cast, theta } = this;
    const { known, unknown, level } = this.shown();
    const { score, entry } = cast;
    paper.begin();
    const set = (faint) => (rows, which) =>
      paper.set(rows, places, (i) => {
        const accepted = score[i] <= theta ? 1 : 0;
        return which === 1 - accepted ? null : this.stamp(entry[i], accepted, level(i), faint);
      });
    const layers = (put, known, unknown) => {
      put(unknown, 0); // rejected unknowns below everything, those accepted above
      put(known);
      put(unknown, 1);
    };
    const stressed = this.stressed();
    if (stressed) {
      const others = (i) => !stressed(i);
      layers(set(1), known.filter(others), unknown.filter(others));
      layers(set(0), known.filter(stressed), unknown.filter(stressed));
    } else {
      layers(set(0), known, unknown);
    }
    paper.end((context) => this.paintOver(context));
  }

  paintOver(context) {
    const { palette, marks, places } = this;
    const { hover, lasso } = this.pointer;
    this.picture.over(context, this.theta);
    const mark = (xy, path, fill) => {
      for (let c = 0; xy && c < this.feed.width; c++) {
        if ((this.spot >= 0 && this.spot !== c) || !this.isMarked(c)) continue;
        context.save();
        context.translate(xy[2 * c], xy[2 * c + 1]);
        context.lineJoin = "round";
        context.strokeStyle = palette.surface;
        context.lineWidth = fill ? 3 : 5;
        context.stroke(path);
        context.strokeStyle = context.fillStyle = palette.text;
        context.lineWidth = 2;
        if (fill) context.fill(path);
        else context.stroke(path);
        context.restore();
      }
    };
    mark(marks.means, (Space.circle ??= new Path2D(outline("circle", 10))), false);
    mark(marks.anchors, (Space.star ??= new Path2D(outline("star", 8))), true);
    if (lasso) {
      context.beginPath();
      lasso.forEach(([x, y]) => context.lineTo(x, y));
      context.closePath();
      context.fillStyle = `color-mix(in srgb, ${palette.strong} 14%, transparent)`;
      context.fill();
      context.strokeStyle = palette.strong;
      context.lineWidth = 1.75;
      context.stroke();
    }
    if (hover >= 0) {
      context.strokeStyle = palette.text;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(places[2 * hover], places[2 * hover + 1], this.radius * 1.5 + 4, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  /** Which rows stand out, if some do: the entry of the legend that is pointed at, else what is selected. */
  stressed() {
    const { entry, film } = this.cast;
    const { selection } = this.state;
    if (this.spot >= 0) return (i) => entry[i] === this.spot;
    if (film || !selection.length) return null;
    if (this.picked !== selection) {
      this.picked = selection;
      this.pickedSet = new Set(selection);
    }
    return (i) => this.pickedSet.has(i);
  }

  isMarked(c) {
    return this.picture.marked?.includes(c) ?? true;
  }

  drawTheta() {
    const { theta, judged } = this;
    const { slider, value } = this.thetaRange;
    const place = String(Math.round(placeOn(judged.scale, theta) * 1000));
    if (!this.held && slider.value !== place) slider.value = place;
    write(value, number(theta));
    attribute(slider, "aria-valuetext", number(theta));
    this.rule.update();
    if (this.cast.film && this.rule.node.disabled) write(this.rule.node, this.say("θ is that of the finished network"));
  }

  /** While the film is on, what theta does to the images of its epoch; else as everywhere. */
  sentence() {
    const { cast, theta, film, feed } = this;
    if (!cast?.film) return super.sentence();
    return this.say("Epoch {epoch}: θ = {theta} accepts {accepted} of these images.", {
      epoch: feed.snapshot_epochs[Math.round(film.at)],
      theta: number(theta),
      accepted: percent(cast.score.reduce((count, score) => count + (score <= theta), 0) / cast.score.length),
    });
  }

  light(n) {
    if (this.spot === n) return;
    this.spot = n;
    this.ask("spot");
  }

  point(row) {
    this.pointer.point(row);
  }

  turnBy(turn, tilt) {
    this.turn += turn;
    this.tilt = Math.min(Math.max(this.tilt + tilt, -1.5), 1.5);
    this.ask("turn");
  }

  select(rows, add = false) {
    if (this.cast.film) return;
    const before = add ? this.state.selection : [];
    const next = [...new Set([...before, ...rows])].sort((a, b) => a - b);
    if (next.join() === this.state.selection.join()) return;
    this.set("selection", next);
    this.settleSoon(0);
  }
}
