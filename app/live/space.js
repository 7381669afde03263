// The cloud of logits: six pictures of it, with a legend that counts, theta, a lasso, and the training epoch by epoch.

const EDGE = 8; // pixels at the edge of the paper that a mark seen from close by keeps free
const DEPTHS = [1.18, 1, 0.84]; // of a sign's size: near, middle, far

class Space extends View {
  moved = ["theta", "temperature", "eps", "sets", "selection", "view", "order", "pair", "triple", "hidden", "epoch",
    "decision", "top", "opacity", "density"];
  turn = 2.15; // from where all three axes of the 3-D picture come towards the viewer
  tilt = 0.38;
  cameras = {}; // by picture
  spot = -1; // the entry of the legend that is pointed at
  wantsMove = false; // whether a drag moves what is seen
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
    this.shows = new Marks(this);
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
          this.shows.node,
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
        click: () => {
          this.wantsLasso[this.kind] = this.wantsMove || !this.wantsLasso[this.kind];
          this.wantsMove = false;
          this.ask("tool");
        },
      },
      say("Lasso"),
    );
    this.moveButton = make(
      "button",
      {
        type: "button",
        class: "chip",
        title: say("Dragging moves what is seen, and the wheel looks closer"),
        click: () => ((this.wantsMove = !this.wantsMove), this.ask("tool")),
      },
      say("Move"),
    );
    const { pairChoice, tripleChoice, lassoButton, moveButton } = this;
    return make("div", { class: "choices" }, pairChoice, tripleChoice, lassoButton, moveButton, this.buildTools());
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
    const lasso = this.wantsLasso[this.kind] && !this.wantsMove;
    attribute(this.lassoButton, "aria-pressed", lasso);
    attribute(this.moveButton, "aria-pressed", this.wantsMove);
    this.stage.style.touchAction = view === "solid" || lasso || this.wantsMove ? "none" : "pan-y";
    this.stage.classList.toggle("turns", this.wantsMove || (view === "solid" && !lasso));
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
        say("+ and − look closer and farther away, 0 shows all, and Alt with an arrow key moves what is seen."),
      ].join(" "),
    });
    this.paper = new Paper(this.canvas);
    this.names = this.feed.header.known.map((name, c) => this.rimName(name, c));
    this.stage = make("div", { class: "stage" }, this.canvas, ...this.names, pointer.tip);
    pointer.attach(this.stage, this.canvas);
    return this.stage;
  }

  /** Closer, farther away, the whole again. */
  buildTools() {
    const { say } = this;
    const tool = (sign, said, click, able) => {
      const node = make("button", { type: "button", class: "tool", title: said, "aria-label": said, click }, sign);
      return { node, update: () => (node.disabled = !able(this.camera)) };
    };
    const near = (camera) => camera.near;
    this.tools = [
      tool("+", say("Closer: Ctrl and the wheel, two fingers, or the key +"), () => this.zoom(1.5), () => true),
      tool("−", say("Farther away: the key −"), () => this.zoom(1 / 1.5), near),
      tool("⤢", say("The whole picture: the key 0"), () => this.showAll(), near),
    ];
    return make("div", { class: "tools" }, ...this.tools.map(({ node }) => node));
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
          shift(this.picture.placeAt(...this.lens.back(...this.pointer.placeOf(event))));
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
      this.rimSign(),
      make("span", { class: "name" }, name),
    );
    return node;
  }

  /** The room for the sign of a class; `fit` draws it in the page's colours. */
  rimSign() {
    return make("span", { class: "mark", "aria-hidden": "true" });
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
    if (has("size", "theme")) this.fit();
    this.drawChoices();
    this.film.draw();
    this.sets.update(this.film.on);
    if (has("scores", "film")) this.cast = this.film.on ? this.film.cast() : this.castOfImages();
    if (has("scores", "size", "theme", "film", "view", "order", "pair", "triple", "turn")) this.layOut();
    else if (has("camera")) this.look();
    if (has("scores", "film", "hidden", "view", "decision", "top") || (has("theta") && this.sieve)) {
      this.drawn = this.grid = null;
    }
    if (has("opacity")) this.stamps = {};
    this.shows.draw();
    this.paint();
    this.drawTheta();
    this.legend.count();
    if (has("selection", "scores", "film")) this.picks.fill();
    this.pointer.showTip();
    if (has("scores")) this.speak();
    if (this.film.playing) this.ask("film");
  }

  get tall() {
    return this.paper.height;
  }

  /** Takes the room that there is, and the page's looks. */
  fit() {
    this.stamps = {};
    this.colours = [];
    const wide = this.stage.clientWidth;
    const tall = Math.min(this.height, Math.max(340 * this.em, wide)); // no taller than wide where it is narrow
    this.stage.style.height = `${tall}px`;
    this.paper.fit(wide, tall);
    this.palette.quiet = getComputedStyle(this.thetaRange.node.firstChild).color;
    this.font = getComputedStyle(this.root).fontFamily;
    this.names.forEach((node, c) => node.firstChild.replaceChildren(signPicture(signOf(c, true, this.palette), 14)));
  }

  /** Who is drawn: all images of the chosen sets. */
  castOfImages() {
    const { feed, judged } = this;
    const { score, label, rows } = judged;
    const logits = logitsOf(feed, this.state.eps);
    const { labels, fold } = feed;
    return { logits, extent: feed.logits, score, label, labels, fold, entry: this.entryOf, rows };
  }

  layOut() {
    const { feed, state, cast, palette, say, turn, tilt } = this;
    const { width, height } = this.paper;
    const view = {
      feed,
      state,
      width,
      height,
      em: this.em,
      palette,
      say,
      turn,
      tilt,
      extent: cast.extent,
      fold: cast.fold,
      slice: !this.extra,
      scale: cast.film ? this.film.scale() : this.judged.scale,
      text: (...rest) => this.text(...rest),
    };
    this.picture = PICTURES[state.view](view);
    this.whole = {
      places: this.picture.place(cast),
      anchors: feed.anchors && this.picture.points(feed.anchors),
      means: this.picture.points(feed.centres),
    };
    this.look();
    const ends =
      state.centres === "anchors" && feed.anchors
        ? say("Judged by distances to the anchors.")
        : say("Judged by where the class means end up.");
    const film = cast.film && CENTRED.includes(state.scorer) ? [ends] : [];
    if (cast.film && state.eps) film.push(say("The images of the film are not moved by ε."));
    if (this.note) write(this.note, [...this.picture.note, ...film].join(" "));
  }

  /** The camera of the picture that is shown: each has its own. */
  get camera() {
    return (this.cameras[this.state.view] ??= new Camera());
  }

  /** Brings what has been laid out to where the camera sees it. */
  look() {
    const { whole, picture, paper, palette } = this;
    const lens = (this.lens = this.camera.lens(paper.width, paper.height));
    paper.frame(palette.surface, (context) => picture.frame(context, lens));
    const near = this.camera.near;
    this.places = near ? lens.moved(whole.places) : whole.places;
    this.marks = { anchors: lens.moved(whole.anchors), means: lens.moved(whole.means) };
    const [wide, tall] = [paper.width, paper.height];
    this.region = picture.box ?? { left: EDGE, top: EDGE, right: wide - EDGE, floor: tall - EDGE };
    this.grid = null;
    this.drawn = null;
    this.placeNames();
    this.tools.forEach((tool) => tool.update());
  }

  /** Whether a place is seen; the whole picture keeps what lies beyond at its edge. */
  seen(x, y) {
    const { left, top, right, floor } = this.region;
    return !this.camera.near || (x >= left && x <= right && y >= top && y <= floor);
  }

  /** So many times closer, about a place on the paper. */
  zoom(times, x = this.paper.width / 2, y = this.paper.height / 2) {
    this.camera.zoom(times, x / this.paper.width, y / this.paper.height);
    this.ask("camera");
  }

  pan(x, y) {
    this.camera.pan(x / this.paper.width, y / this.paper.height);
    this.ask("camera");
  }

  showAll() {
    this.camera.whole();
    this.ask("camera");
  }

  /** most: pixels, into which a longer text is pressed. */
  text(context, said, x, y, align, weight = 400, most = undefined) {
    context.font = `${weight} ${12.5 * this.em}px ${this.font}`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillStyle = weight > 400 ? this.palette.text : this.palette.quiet;
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.strokeStyle = this.palette.surface;
    context.strokeText(said, x, y, most);
    context.fillText(said, x, y, most);
    context.lineWidth = 1;
    context.strokeStyle = this.palette.faint;
  }

  placeNames() {
    const rim = new Map((this.picture.rim ?? []).map((place) => [place.c, place]));
    this.names.forEach((node, c) => {
      const place = rim.get(c);
      const [x, y] = place ? this.lens.at([place.x, place.y]) : [0, 0];
      node.hidden = !place || !this.seen(x, y);
      if (node.hidden) return;
      // where there is no room beside the wheel a name moves over it
      const [wide, tall] = [node.offsetWidth, node.offsetHeight];
      const from = x + { "-1": -1, 0: -0.5, 1: 0 }[place.side] * wide;
      const left = Math.min(Math.max(from, 0), this.paper.width - wide);
      node.style.transform = `translate(${left}px,${y - tall / 2}px)`;
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

  /** Whether the images of a decision alone are drawn: (known, accepted) -> drawn, or null for all. */
  get sieve() {
    return DECISIONS[this.state.decision] ?? null;
  }

  /**
   * The rows that are drawn, from below to above: in 3-D the farthest first, else mixed; and those of the knowns and of
   * the unknowns, where the one or the other is to lie on top.
   */
  shown() {
    if (this.drawn) return this.drawn;
    const { cast, places, sieve, theta, state } = this;
    const hidden = this.entries.map((entry) => state.hidden.includes(entry.id));
    const { depth } = this.picture;
    const every = depth ? cast.rows : mixedOf(cast);
    const kept = new Int32Array(every.length);
    let count = 0;
    for (let n = 0; n < every.length; n++) {
      const i = every[n];
      const [x, y] = [places[2 * i], places[2 * i + 1]];
      if (hidden[cast.entry[i]] || Number.isNaN(x) || !this.seen(x, y)) continue;
      if (!sieve || sieve(cast.labels[i] >= 0, cast.score[i] <= theta)) kept[count++] = i;
    }
    const rows = kept.subarray(0, count);
    const sorted = depth ? byDepth(rows, depth) : rows;
    const limits = depth && [2, 1].map((n) => depth[sorted[Math.floor((sorted.length * n) / 3)]]);
    this.drawn = {
      rows,
      sorted,
      known: state.top === "mixed" ? null : sorted.filter((i) => cast.labels[i] >= 0),
      unknown: state.top === "mixed" ? null : sorted.filter((i) => cast.labels[i] < 0),
      level: depth ? (i) => (depth[i] < limits[0] ? 0 : depth[i] < limits[1] ? 1 : 2) : () => 1,
      layers: new Map(), // by the rows that they are of
    };
    const n = rows.length;
    this.radius = n < 500 ? 5 : n < 2000 ? 4 : n < 6000 ? 3.2 : n < 12000 ? 2.7 : n < 40000 ? 2.3 : 1.8;
    return this.drawn;
  }

  colourOf(entry) {
    return (this.colours[entry] ??= rgbOf(signOf(this.entries[entry].label, true, this.palette).colour));
  }

  /** The stamps of a strength that have been made, for Paper.set. */
  stampsOf(faint) {
    const need = `${faint} ${this.radius}`;
    return (this.stamps[need] ??= []);
  }

  /** The sign of a kind: which entry of the legend, three times, and how near. */
  stamp(kind, accepted, faint) {
    const [entry, level] = [Math.floor(kind / 3), kind % 3];
    const sign = signOf(this.entries[entry].label, Boolean(accepted), this.palette);
    const own = faint ? 0.2 : sign.shape === "cross" && !accepted ? 0.7 : 1;
    const { scale, stride } = this.paper;
    return stampOf(sign, this.radius * DEPTHS[level], scale, stride, own * this.state.opacity);
  }

  /** Rows as the paper sets them; kept where they are rows that stay. */
  layerOf(rows, stays) {
    const { layers, level } = this.drawn;
    if (layers.has(rows)) return layers.get(rows);
    const { entry, score } = this.cast;
    const reach = reachOf(this.radius * DEPTHS[0], this.paper.scale);
    const layer = this.paper.layer(rows, this.places, score, (i) => 3 * entry[i] + level(i), reach);
    if (stays) layers.set(rows, layer);
    return layer;
  }

  paint() {
    const { paper, places, cast, theta } = this;
    const { sorted, known, unknown } = this.shown();
    const { entry } = cast;
    const { top } = this.state;
    const stressed = this.stressed();
    paper.begin();
    if (this.state.density) {
      const rows = stressed ? sorted.filter(stressed) : sorted;
      paper.shade(rows, places, (i) => this.colourOf(entry[i]));
      paper.end((context) => this.paintOver(context));
      return;
    }
    const set = (faint) => {
      const stampFor = (kind, accepted) => this.stamp(kind, accepted, faint);
      return (rows, only) => paper.set(this.layerOf(rows, !stressed), theta, this.stampsOf(faint), stampFor, only);
    };
    const layers = (put, of) => {
      if (top === "mixed") {
        put(of(sorted));
      } else if (top === "known") {
        put(of(unknown));
        put(of(known));
      } else {
        put(of(unknown), 0); // those rejected below everything, those accepted above
        put(of(known));
        put(of(unknown), 1);
      }
    };
    if (stressed) {
      layers(set(1), (rows) => rows.filter((i) => !stressed(i)));
      layers(set(0), (rows) => rows.filter(stressed));
    } else {
      layers(set(0), (rows) => rows);
    }
    paper.end((context) => this.paintOver(context));
  }

  paintOver(context) {
    const { palette, marks, places } = this;
    const { hover, lasso } = this.pointer;
    this.picture.over(context, this.theta, this.lens);
    const mark = (xy, path, fill) => {
      for (let c = 0; xy && c < this.feed.width; c++) {
        if ((this.spot >= 0 && this.spot !== c) || !this.isMarked(c)) continue;
        if (!this.seen(xy[2 * c], xy[2 * c + 1])) continue;
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
