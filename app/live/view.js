// What the views share: how they hear from Python and answer, when they draw, and the verdicts they draw from.

// what a view can move by itself; the rest of the state is the page's alone
const MOVED = ["theta", "temperature", "eps", "sets", "selection", "view", "order", "pair", "triple", "hidden",
  "epoch", "decision", "top", "opacity", "density", "axis"];
const INITIAL = {
  extra: null,
  scorer: "gamma",
  name: "",
  centres: "means",
  theta: null,
  kept: 0.95,
  each: false,
  temperature: 1,
  eps: 0,
  share: 0.2,
    epoch: null, sets: [1], selection: [], view: "wheel", order: null,
  pair: [0, 1],
  triple: [0, 1, 2],
  hidden: [],
  decision: "all",
  top: "mixed",
  opacity: 1,
  density: false,
  axis: "auto",
  words: {},
  bare: false,
  asks: false,
};

class View {
  constructor(root) {
    this.root = root;
    this.state = { ...INITIAL };
    this.agreed = {}; // what Python and the view have last said to each other of what the view can move
    this.told = 0; // how many times the view has told Python
    this.held = false; // a finger is down
    this.em = 1; // how many times as large as usual text is
    this.due = new Set(); // what has to be done at the next frame
    this.tell = () => this.arrived();
    shelf().waiting.add(this.tell);
    let wide = 0;
    this.watcher = new ResizeObserver(() => {
      if (root.clientWidth !== wide) this.ask("size"); // the height follows from what is drawn
      wide = root.clientWidth;
    });
    this.watcher.observe(root);
    this.ends = new AbortController(); // for listeners beyond the root
  }

  close() {
    shelf().waiting.delete(this.tell);
    this.watcher.disconnect();
    this.ends.abort();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.speaking);
    clearTimeout(this.settling);
    this.closed = true;
  }

  // --- hearing and answering ---

  /** A message from Python. While a finger is down it waits. */
  receive(component) {
    this.send = component.setStateValue;
    this.call = component.setTriggerValue;
    if (this.held || this.settling) {
      this.pending = component;
      return;
    }
    const { state, settled, height } = component.data;
    if (!this.received) {
      this.received = true;
      this.told = settled?.told ?? 0;
      for (const name of MOVED) if (settled?.[name] !== undefined) this.hear(name, settled[name]);
    }
    const late = (settled?.told ?? 0) < this.told; // written before our latest word was heard
    for (const [name, value] of Object.entries(state)) {
      if (MOVED.includes(name)) {
        const said = JSON.stringify(value);
        if (late || said === this.agreed[name]) continue;
        this.agreed[name] = said;
      }
      this.hear(name, value);
    }
    const room = this.state.bare ? window.innerHeight : height; // on a projector what the window has is found out
    if (this.wanted !== room) this.wanted = this.height = room;
    this.root.classList.toggle("bare", this.state.bare);
    this.say = speaker(this.state.words);
    this.arrived();
    if (!this.root.clientWidth) stands(this.root); // in a closed box it is drawn once that opens
  }

  /** What Python says of a part of the state; a selection travels packed. */
  hear(name, value) {
    this.state[name] = name === "selection" ? unpackedRows(value) : value;
  }

  /** Looks for the feeds: draws where they are there, says so where they are not yet or not readable. */
  arrived() {
    if (!this.received || this.closed) return;
    const feed = feedOf(this.state.feed);
    const extra = this.state.extra ? feedOf(this.state.extra) : null;
    const wrong = this.problem(feed, extra);
    if (!feed || extra === undefined || wrong) {
      this.built = null;
      const text = wrong ?? this.say("Loading the numbers of this run…");
      const box = make("div", { class: "waiting", style: `height:${this.height}px`, role: "status" }, text);
      this.root.replaceChildren(box);
      if (wrong) stands(this.root);
      return;
    }
    this.feed = feed;
    this.extra = extra;
    this.prepare();
    const need = JSON.stringify([feed.id, this.height, this.state.words]);
    if (this.built !== need) {
      this.built = need;
      this.root.replaceChildren();
      this.build();
    }
    this.ask("scores", "size", "theme");
  }

  problem(feed, extra) {
    if (!feed || extra === undefined) {
      return shelf().broken ? this.say("The numbers of this run could not be read. Reload the page.") : null;
    }
    if (!feed.logits || !feed.labels || !feed.split || !feed.centres) {
      return this.say("The numbers of this run cannot be drawn: logits, labels, split or centres are missing.");
    }
    if (extra && extra.score?.length !== feed.count) {
      return this.say("The score and the logits are of different images, so they cannot be drawn together.");
    }
    if (!extra && !SCORERS[this.state.scorer]) return this.say("This score needs its own numbers, which are not here.");
    return null;
  }

  /** Brings the state to what the feed has: an order of its classes, and choices that exist in it. */
  prepare() {
    const { width } = this.feed;
    const all = Array.from({ length: width }, (_, c) => c);
    const { order } = this.state;
    if (!order || order.length !== width || !all.every((c) => order.includes(c))) this.state.order = all;
    this.state.pair = this.state.pair.map((c, n) => (c < width ? c : n));
    this.state.triple = this.state.triple.map((c, n) => (c < width ? c : n)).slice(0, width);
    this.state.selection = this.state.selection.filter((row) => row < this.feed.count);
    this.state.eps = Math.min(this.state.eps, this.feed.header.eps?.length ?? 0);
  }

  /** Tells Python where everything has come to rest; what it said meanwhile counts now, but for what was moved. */
  settle() {
    clearTimeout(this.settling);
    this.settling = null;
    const word = { told: ++this.told };
    for (const name of this.moved) {
      word[name] = name === "selection" ? packedRows(this.state.selection) : this.state[name];
      this.agreed[name] = JSON.stringify(word[name]);
    }
    this.send("settled", word);
    this.speak();
    this.letGo();
  }

  /** The same once no further key is pressed. */
  settleSoon(wait = 350) {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.settle(), wait);
  }

  /** Asks the page for all images with this in common; what is set counts first. */
  see(asked) {
    if (this.settling) this.settle();
    this.call("asked", asked);
  }

  /** A number as a button that leads to its images; mere text where the page has none to lead to. */
  counted(asked) {
    const button = make("button", { type: "button", class: "seen", click: () => this.see(asked()) });
    const update = (text, able = true) => {
      write(button, text);
      button.disabled = !this.state.asks || !able;
      attribute(button, "title", button.disabled ? "" : this.say("See all these images"));
    };
    return { node: button, update };
  }

  hold() {
    this.held = true;
  }

  /** Nothing is held any more: what Python said meanwhile is heard. */
  letGo() {
    this.held = false;
    const { pending } = this;
    this.pending = null;
    if (pending) this.receive(pending);
  }

  /** What was held has come to rest. */
  release() {
    if (!this.held) return;
    this.held = false;
    this.settleSoon(0);
  }

  /** Tells those who listen instead of looking, once things are quiet. */
  speak() {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => write(this.voice, this.sentence()), 700);
  }

  // --- drawing ---

  /** What has to be done at the next frame: scores, theta, size, theme, ... */
  ask(...what) {
    for (const name of what) this.due.add(name);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.closed || !this.built || !this.root.clientWidth) return;
      const due = this.due;
      this.due = new Set();
      if (due.has("theme")) this.palette = paletteFor(this.root, this.state.palettes);
      if (due.has("scores")) this.judged = judgedOf(this.feed, this.extra, this.state);
      this.em = textScale();
      this.draw(due);
      if (this.state.bare && this.tooHigh()) return;
      stands(this.root);
    });
  }

  /** On a projector nothing is scrolled: whether the picture was too high, and is drawn anew, less high. */
  tooHigh() {
    const least = 150 * this.em;
    const beyond = beyondWindow(this.root);
    if (beyond <= 0 || this.height <= least) return false;
    this.height = Math.max(this.tall - beyond, least);
    this.arrived();
    return true;
  }

  /** How high the picture is now. */
  get tall() {
    return this.height;
  }

  get theta() {
    const { validation, known, unknown } = this.judged.sorted;
    return this.state.theta === null ? this.judged.rule : onScore(this.state.theta, [validation, known, unknown]);
  }

  set(name, value) {
    const other = ["temperature", "eps"].includes(name) && this.state[name] !== value;
    if (other) this.state.theta = null; // it was set for other scores than these
    this.state[name] = value;
    this.ask(["temperature", "eps", "sets", "axis"].includes(name) ? "scores" : name);
  }

  // --- words for an image, controls that both have ---

  /** What the truth about a row is called. */
  truth(row) {
    const { header, labels, classes, split } = this.feed;
    if (labels[row] >= 0) return header.known[labels[row]];
    const known = classes && classes[row] >= 0 ? header.names?.[classes[row]] : null;
    return known ?? ((split[row] > 1 && header.sets?.[split[row]] && this.say(header.sets[split[row]])) || this.say("never seen"));
  }

  /** The sentence above everything: what theta does. */
  sentence() {
    const { counts } = this.judged.at(this.theta);
    const theta = number(this.theta);
    const kept = percent(counts.kept / counts.knowns);
    if (!counts.unknowns) return this.say("At θ = {theta} it keeps {kept} of the knowns.", { theta, kept });
    const caught = percent(counts.caught / counts.unknowns);
    const among = unknownAmongAccepted(counts, this.state.share);
    const share = Number((100 * this.state.share).toPrecision(3));
    const words = this.say("At θ = {theta} it keeps {kept} of the knowns and catches {caught} of the unknowns.", {
      theta,
      kept,
      caught,
    });
    if (Number.isNaN(among)) return words;
    return `${words} ${this.say("If {share} of 100 images are unknown, so are {among} of 100 accepted ones.", {
      share,
      among: shareOf(among),
    })}`;
  }

  /** A number with a title above and a note below it. asked: what the images that it counts have in common. */
  tile(title, asked) {
    const value = make("dd", { class: "big" });
    const note = make("dd", { class: "note" });
    const count = asked && this.counted(() => asked);
    if (count) note.append(count.node);
    return { node: make("div", { class: "tile" }, make("dt", {}, title), value, note), value, note, count };
  }

  /** A share in a tile: so many of so many, with its 95 % interval. */
  fill({ value, note, count }, hits, of) {
    const share = { hits, of, interval: between(wilson(hits, of)) };
    const said = of ? this.say("{hits} of {of} · {interval}", share) : this.say("no such image");
    write(value, percent(of ? hits / of : NaN));
    if (count) count.update(said, hits > 0);
    else write(note, said);
  }

  /** Theta or T: a range, and its value in words. While a finger holds it nothing else moves it. */
  range(label, input, shown = label) {
    const value = make("output", { class: "value" });
    const slider = make("input", {
      type: "range",
      min: 0,
      max: 1000,
      step: 1,
      "aria-label": label,
      pointerdown: (event) => {
        slider.setPointerCapture(event.pointerId); // so that it is let go here, wherever that is
        this.hold();
      },
      pointerup: () => this.release(),
      pointercancel: () => this.release(),
      input: () => input(slider.value / 1000),
      change: () => this.held || this.settleSoon(),
    });
    return {
      slider,
      value,
      node: make("label", { class: "range" }, make("span", { class: "label" }, shown), slider, value),
    };
  }

  /** The temperature: from a twentieth of the paper's to twenty times that, resting at 1. */
  temperatureRange() {
    const part = this.range(this.say("Temperature T"), (place) => this.set("temperature", temperatureAt(place)));
    part.update = () => {
      const { temperature } = this.state;
      part.node.hidden = !!this.extra || !TEMPERED.includes(this.state.scorer);
      const place = String(Math.round(placeOfTemperature(temperature) * 1000));
      if (temperatureAt(part.slider.value / 1000) !== temperature && part.slider.value !== place)
        part.slider.value = place;
      write(part.value, number(temperature));
      attribute(part.slider, "aria-valuetext", number(temperature));
    };
    return part;
  }

  /** The magnitude of the perturbation, where the feed holds some. */
  epsChoice() {
    const magnitudes = this.feed.eps_logits ? [0, ...this.feed.header.eps] : [0];
    const select = make(
      "select",
      { change: () => (this.set("eps", select.selectedIndex), this.settle()) },
      ...magnitudes.map((eps) => make("option", {}, String(Number(eps.toPrecision(3))))),
    );
    const node = make(
      "label",
      { class: "choice" },
      make("span", { class: "label" }, this.say("Perturbation ε")),
      select,
    );
    const update = () => {
      node.hidden = !!this.extra || magnitudes.length < 2;
      select.selectedIndex = this.state.eps;
    };
    return { node, update };
  }

  /** Which sets of images count, where there is more than one to choose from. */
  setChoice(from) {
    const { header, split } = this.feed;
    const present = [...new Set(split)].filter((s) => s >= from).sort((a, b) => a - b);
    const boxes = present.map((s) =>
      make(
        "button",
        { type: "button", class: "chip", click: () => this.toggleSet(s) },
        header.sets?.[s] ? this.say(header.sets[s]) : this.say("set {n}", { n: s }),
      ),
    );
    const node = make(
      "div",
      { class: "choice sets", role: "group", "aria-label": this.say("Images") },
      make("span", { class: "label" }, this.say("Images")),
      ...boxes,
    );
    const update = (idle = false) => {
      node.hidden = node.children.length < 3; // the word and a single set: nothing to choose
      present.forEach((s, n) => {
        attribute(boxes[n], "aria-pressed", !idle && this.state.sets.includes(s));
        boxes[n].disabled = idle;
      });
    };
    return { node, update };
  }

  toggleSet(s) {
    const { sets } = this.state;
    const next = sets.includes(s) ? sets.filter((other) => other !== s) : [...sets, s].sort((a, b) => a - b);
    if (!next.length) return;
    this.set("sets", next);
    this.settle();
  }

  /** The button that gives theta back to the rule, or says that the rule has it. */
  ruleButton() {
    const button = make("button", {
      type: "button",
      class: "plain",
      click: () => (this.set("theta", null), this.settle()),
    });
    const update = () => {
      button.disabled = this.state.theta === null;
      write(button, button.disabled ? this.say("θ goes by the rule") : this.say("Back to the rule for θ"));
    };
    return { node: button, update };
  }
}

// T on its slider: 0.05 to 20 by its logarithm, 1 in the middle and easy to find again
const temperatureAt = (place) => (Math.abs(place - 0.5) < 0.012 ? 1 : Number((0.05 * 400 ** place).toPrecision(2)));
const placeOfTemperature = (temperature) => Math.min(Math.max(Math.log(temperature / 0.05) / Math.log(400), 0), 1);

// --- verdicts --------------------------------------------------------------------------------------------------------

/** The centres that distances are taken to. */
const centresIn = (feed, state) => (state.centres === "anchors" && feed.anchors ? feed.anchors : feed.centres);

/** The same row by row: an image that is of a fold is judged by those without it. fold: of the rows, over and over. */
function centresOf(feed, state, fold) {
  const every = centresIn(feed, state);
  if (!fold || every === feed.anchors) return () => every;
  const size = feed.width ** 2;
  const without = Array.from({ length: feed.fold_centres.length / size }, (_, n) =>
    feed.fold_centres.subarray(n * size, (n + 1) * size),
  );
  return (row) => without[fold[row % fold.length]] ?? every;
}

/** The verdicts on all images of a feed, and what follows from them whatever theta is. */
function judgedOf(feed, extra, state) {
  const { count, width, labels, split } = feed;
  const { score, label } = extra
    ? extra
    : verdictOf(state.scorer, logitsOf(feed, state.eps), width, centresOf(feed, state, feed.fold), state.temperature);
  const [rows, known, unknown, validation] = [[], [], [], []];
  for (let i = 0; i < count; i++) {
    if (split[i] === 0 && labels[i] >= 0) validation.push(i);
    if (!state.sets.includes(split[i])) continue;
    rows.push(i);
    (labels[i] < 0 ? unknown : known).push(i);
  }
  const of = (some) => Float64Array.from(some, (i) => score[i]).sort();
  const sorted = { validation: of(validation), known: of(known), unknown: of(unknown) };
  const knowns = of([...validation, ...known]);
  const plain = scaleOf(knowns, sorted.unknown);
  const axis = state.axis === "auto" ? (crowded(knowns, plain) ? "quantiles" : "score") : state.axis;
  const scale = axis === "quantiles" && knowns.length ? quantileScaleOf(knowns, sorted.unknown) : plain;
  return {
    score,
    label,
    known,
    unknown,
    sorted,
    scale,
    rows: Int32Array.from(rows),
    rule: state.each ? 0 : validation.length ? thetaAt(state.kept, sorted.validation) : scale.high,
    at(theta) {
      const table = confusionAt(theta, score, label, labels, rows, width);
      return { table, counts: countsIn(table, width) };
    },
    get curve() {
      return (this._curve ??= curveOf(sorted.known, sorted.unknown));
    },
  };
}
