// The film of the training: the validation sample epoch by epoch, in the pictures that need no fit.

const EPOCH_TIME = 500; // milliseconds an epoch while the film plays

class Film {
  constructor(space) {
    this.space = space;
    this.on = this.playing = false;
    this.at = 0; // which epoch, between two of them in between
    this.known = null; // the epoch that Python knows of
    const { say, feed } = space;
    this.chip = make(
      "button",
      { type: "button", class: "chip", click: () => this.start(!this.on) },
      say("Watch the training"),
    );
    this.button = make("button", { type: "button", class: "chip play", click: () => this.play(!this.playing) });
    this.said = make("output", { class: "value" });
    this.last = (feed.snapshot_epochs?.length ?? 1) - 1;
    this.scrubber = make("input", {
      type: "range",
      min: 0,
      max: this.last,
      step: 1,
      "aria-label": say("Epoch"),
      input: () => {
        this.at = Number(this.scrubber.value);
        this.playing = false;
        space.ask("film");
      },
      change: () => this.tell(),
    });
    this.node = make(
      "div",
      { class: "controls film" },
      this.button,
      make("label", { class: "range" }, this.scrubber, this.said),
    );
  }

  /** A score that the browser does not compute, and UMAP, are known for the images alone. */
  get able() {
    const { feed, extra, state } = this.space;
    return Boolean(feed.snapshots) && !extra && state.view !== "umap";
  }

  start(on) {
    this.on = on;
    this.at = 0;
    this.playing = false;
    this.space.point(-1);
    this.space.ask("film", "scores");
    this.tell();
  }

  /** What Python says is shown: an epoch, or null for none. What it has been told is not said back. */
  follow() {
    const { state, feed } = this.space;
    if (!feed.snapshots || state.epoch === this.known) return;
    this.known = state.epoch;
    this.on = state.epoch !== null;
    this.playing = false;
    const at = feed.snapshot_epochs.findIndex((epoch) => epoch >= state.epoch);
    this.at = this.on ? (at < 0 ? this.last : at) : 0;
  }

  /** Python hears which epoch is shown, once it stands still. */
  tell() {
    this.known = this.on ? this.space.feed.snapshot_epochs[Math.round(this.at)] : null;
    this.space.state.epoch = this.known;
    this.space.settleSoon(0);
  }

  play(playing) {
    if (playing && this.at >= this.last) this.at = 0;
    this.playing = playing;
    this.since = performance.now();
    this.space.ask("film");
    if (!playing) this.tell();
  }

  /** Time goes on: between epochs where motion is welcome, else from one to the next. */
  advance() {
    const now = performance.now();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const past = (now - this.since) / EPOCH_TIME;
    if (!calm || past >= 2) {
      this.at = Math.min(this.last, calm ? Math.floor(this.at) + 1 : this.at + past);
      this.since = now;
    }
    if (this.at < this.last) return;
    this.playing = false;
    this.tell();
  }

  draw() {
    const { say, feed } = this.space;
    if (!this.able) this.on = this.playing = false;
    this.chip.hidden = !this.able;
    this.node.hidden = !this.on;
    attribute(this.chip, "aria-pressed", this.on);
    if (!this.on) return;
    write(this.button, this.playing ? say("Pause") : say("Play"));
    const at = Math.round(this.at);
    const epochs = feed.snapshot_epochs;
    this.scrubber.value = at;
    write(this.said, say("Epoch {epoch} of {last}", { epoch: epochs[at], last: epochs[this.last] }));
    attribute(this.scrubber, "aria-valuetext", this.said.textContent);
  }

  /** Who is drawn while the film is on. */
  cast() {
    const { feed, state } = this.space;
    const labels = feed.snapshot_labels;
    const size = labels.length * feed.width;
    const first = Math.floor(this.at);
    const share = this.at - first;
    const frame = (epoch) => feed.snapshots.subarray(epoch * size, (epoch + 1) * size);
    const next = share ? frame(first + 1) : null;
    const logits = share ? frame(first).map((z, i) => z + (next[i] - z) * share) : frame(first);
    const fold = feed.snapshot_fold;
    const centresAt = centresOf(feed, state, fold);
    const { score, label } = verdictOf(state.scorer, logits, feed.width, centresAt, state.temperature);
    const rows = Int32Array.from(labels.keys());
    return { logits, extent: feed.snapshots, score, label, labels, fold, entry: labels, rows, film: true };
  }

  /** Where the scores of all epochs lie. */
  scale() {
    const { feed, state } = this.space;
    const need = JSON.stringify([state.scorer, state.temperature, state.centres]);
    if (this.need !== need) {
      this.need = need;
      const centresAt = centresOf(feed, state, feed.snapshot_fold);
      const { score } = verdictOf(state.scorer, feed.snapshots, feed.width, centresAt, state.temperature);
      this.every = scaleOf(ascending(score), new Float64Array(0));
    }
    return this.every;
  }
}
