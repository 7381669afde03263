// One course of training: data, network, every epoch so far, and what is known after each. Pure: no page.

const WIDTH = 3; // classes, so that logit space can be drawn as it is
const MOST_EPOCHS = 400;

const STATE = {
  data: "blobs", classes: [0, 1, 2], method: "cac", alpha: 10, lambda: 0.1, rate: 0.01, noise: 0.4, width: 32, seed: 0,
  kept: 0.95, unknown: "none", at: [0, 0], stranger: 7, points: "", drawing: "", epoch: 0,
};
const SCORER_OF = { cac: "gamma", softmax: "msp" };

/** What of a state decides the course; the rest only says what is looked at. */
const courseKey = ({ epoch, kept, unknown, at, stranger, drawing, points, ...rest }) =>
  JSON.stringify({ ...rest, points: rest.data === "drawn" ? points : "" });

/** What of a state decides which unknowns there are. */
const unknownKey = ({ unknown, at, stranger, drawing, points }) =>
  JSON.stringify([unknown, at, stranger, drawing, points]);

class Course {
  constructor(state, digits) {
    this.state = state;
    this.data = dataOf(state, digits);
    const { inputs, labels, held } = this.data;
    this.training = Array.from(labels.keys()).filter((i) => labels[i] >= 0 && !held[i]);
    // a class without points: there is nothing to train
    this.empty = new Set(this.training.map((i) => labels[i])).size < WIDTH;
    this.random = new Random(state.seed + 1);
    this.network = new Network([inputs, state.width, state.width, WIDTH], this.random);
    this.kept = [Float32Array.from(this.network.weights)]; // the weights after each epoch
    this.terms = [this.termsNow()];
    this.seen = new Map();
  }

  get trained() {
    return this.kept.length - 1;
  }

  /** Whether training went wrong: too long steps leave a network whose neurons are all silent. */
  stuck(found) {
    return found.epoch >= 10 && !(found.accuracy > 0.7) && Number.isFinite(found.theta);
  }

  /** Trains one more epoch. */
  train() {
    this.restore();
    const order = this.random.shuffled(this.training);
    const { x, labels } = this.data;
    const terms = epochOver(this.network, x, labels, order, this.state.method, this.state);
    this.exact = this.network.weights.slice();
    this.kept.push(Float32Array.from(this.exact));
    this.terms.push(terms);
  }

  /** The weights that training goes on from, where another epoch was looked at since. */
  restore() {
    if (this.exact) this.network.weights.set(this.exact);
  }

  /** Loss terms over the training points, before any training. */
  termsNow() {
    const rows = this.training;
    if (!rows.length) return { total: 0 };
    const z = this.network.forward(rowsOf(this.data.x, rows, this.data.inputs), rows.length);
    const labels = rows.map((i) => this.data.labels[i]);
    return LOSSES[this.state.method](z, labels, rows.length, WIDTH, this.state, new Float64Array(z.length));
  }

  /** Other unknowns, the same course. */
  meet(state, digits) {
    const same = unknownKey(state) === unknownKey(this.state);
    this.state = state;
    if (same) return;
    this.data = dataOf(state, digits);
    this.seen.clear();
  }

  /** Logits [N, 3] of points [N, I] after an epoch. */
  logitsAt(epoch, x) {
    this.exact ??= this.network.weights.slice();
    this.network.weights.set(epoch === this.trained ? this.exact : this.kept[epoch]);
    return this.network.forward(x, x.length / this.data.inputs).slice();
  }

  /**
   * What is known after an epoch: logits [N, 3], centres [3, 3] (the class means of the training points named right, as
   * cac_core has them), score and label [N], theta (the lowest that keeps a share of new knowns, by the held-out ones),
   * accuracy, kept and caught (shares), auroc, spread (mean distance of training points to their class mean), scorer.
   */
  at(epoch, kept) {
    const key = `${epoch} ${kept}`;
    if (this.seen.has(key)) return this.seen.get(key);
    const { x, labels, held } = this.data;
    const logits = this.logitsAt(epoch, x);
    const scorer = SCORER_OF[this.state.method];
    const centres = meansOf(logits, labels, this.training, this.state);
    const { score, label } = verdictOf(scorer, logits, WIDTH, () => centres, 1);
    const rows = { known: [], unknown: [] };
    labels.forEach((y, i) => held[i] && rows[y < 0 ? "unknown" : "known"].push(i));
    const of = (some) => ascending(some.map((i) => score[i]));
    const [known, unknown] = [of(rows.known), of(rows.unknown)];
    const theta = thetaAt(kept, known);
    let spread = 0;
    for (const i of this.training) {
      const y = labels[i];
      let sum = 0;
      for (let k = 0; k < WIDTH; k++) sum += (logits[i * WIDTH + k] - centres[y * WIDTH + k]) ** 2;
      spread += Math.sqrt(sum) / this.training.length;
    }
    const found = {
      epoch, logits, centres, score, label, theta, rows, known, unknown, spread, scorer,
      accuracy: rows.known.filter((i) => label[i] === labels[i]).length / rows.known.length,
      kept: upTo(known, theta) / known.length,
      caught: 1 - upTo(unknown, theta) / unknown.length,
      auroc: auroc(curveOf(known, unknown)),
    };
    if (this.seen.size > 40) this.seen.clear();
    this.seen.set(key, found);
    return found;
  }
}

/** Class means [3, 3] of the logits of these rows, of those named right where a class has some. */
function meansOf(logits, labels, rows, { method, alpha }) {
  const means = anchorsOf(WIDTH, alpha);
  const named = verdictOf(method === "cac" ? "distance" : "max_logit", logits, WIDTH, () => means, 1).label;
  for (let c = 0; c < WIDTH; c++) {
    const mine = rows.filter((i) => labels[i] === c);
    const right = mine.filter((i) => named[i] === c);
    const some = right.length ? right : mine;
    if (!some.length) continue;
    for (let k = 0; k < WIDTH; k++) {
      means[c * WIDTH + k] = some.reduce((sum, i) => sum + logits[i * WIDTH + k], 0) / some.length;
    }
  }
  return means;
}
