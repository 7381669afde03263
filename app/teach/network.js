// A small network, its losses and its training: what cac_core does with torch, in plain numbers, so that a browser can
// train while one watches. Pure: no page. tests/app/test_teach.py holds losses, gradients and whole epochs against torch.
//
// N points, I inputs each, C classes. Tables are typed arrays, row after row.

/** Random numbers that a seed repeats anywhere: mulberry32. */
class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** In [0, 1). */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** Normal, mean 0 and standard deviation 1. */
  normal() {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  shuffled(values) {
    const mixed = Int32Array.from(values);
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = Math.floor(this.next() * (i + 1));
      [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
    }
    return mixed;
  }
}

/** Fully connected layers of these sizes, ReLU between them. All weights lie in `weights`, layer after layer. */
class Network {
  constructor(sizes, random) {
    this.sizes = sizes;
    let count = 0;
    this.layers = sizes.slice(1).map((outputs, n) => {
      const layer = { inputs: sizes[n], outputs, weight: count, bias: count + sizes[n] * outputs };
      count = layer.bias + outputs;
      return layer;
    });
    this.weights = new Float64Array(count);
    this.gradient = new Float64Array(count);
    this.velocity = new Float64Array(count);
    for (const { inputs, outputs, weight, bias } of this.layers) {
      const reach = Math.sqrt(6 / inputs); // He et al., ICCV 2015
      for (let i = weight; i < bias; i++) this.weights[i] = (2 * random.next() - 1) * reach;
      for (let i = bias; i < bias + outputs; i++) this.weights[i] = 0;
    }
    this.rooms = new Map(); // what the layers put out, by the number of points
  }

  /** Logits [N, C] of x [N, I]; they are overwritten by the next call with as many points. */
  forward(x, count) {
    let room = this.rooms.get(count);
    if (!room) {
      room = this.layers.map(({ outputs }) => new Float64Array(count * outputs));
      if (this.rooms.size > 8) this.rooms.clear(); // while points are drawn there is one more each time
      this.rooms.set(count, room);
    }
    const { weights } = this;
    let from = x;
    this.layers.forEach(({ inputs, outputs, weight, bias }, n) => {
      const to = room[n];
      const last = n === this.layers.length - 1;
      for (let i = 0; i < count; i++) {
        const at = i * inputs;
        for (let o = 0; o < outputs; o++) {
          let sum = weights[bias + o];
          const row = weight + o * inputs;
          for (let k = 0; k < inputs; k++) sum += weights[row + k] * from[at + k];
          to[i * outputs + o] = last || sum > 0 ? sum : 0;
        }
      }
      from = to;
    });
    return from;
  }

  /** From the gradient [N, C] of a loss by the logits of the last forward(x) to that by the weights, in `gradient`. */
  backward(x, count, byLogits) {
    const { weights, gradient, layers } = this;
    const room = this.rooms.get(count);
    gradient.fill(0);
    let above = byLogits;
    for (let n = layers.length - 1; n >= 0; n--) {
      const { inputs, outputs, weight, bias } = layers[n];
      const below = n ? room[n - 1] : x;
      const next = n ? new Float64Array(count * inputs) : null;
      for (let i = 0; i < count; i++) {
        const at = i * inputs;
        for (let o = 0; o < outputs; o++) {
          const g = above[i * outputs + o];
          if (g === 0) continue;
          gradient[bias + o] += g;
          const row = weight + o * inputs;
          for (let k = 0; k < inputs; k++) gradient[row + k] += g * below[at + k];
          if (next) for (let k = 0; k < inputs; k++) next[at + k] += g * weights[row + k];
        }
      }
      if (next) for (let k = 0; k < next.length; k++) if (below[k] <= 0) next[k] = 0;
      above = next;
    }
  }

  /** One step of stochastic gradient descent with momentum, as torch.optim.SGD's. */
  step(rate, momentum) {
    const { weights, gradient, velocity } = this;
    for (let i = 0; i < weights.length; i++) {
      velocity[i] = momentum * velocity[i] + gradient[i];
      weights[i] -= rate * velocity[i];
    }
  }
}

// --- losses: means over the points; each also gives its gradient [N, C] by the logits --------------------------------

/** The anchors [C, C]: alpha times the unit vectors. */
function anchorsOf(width, alpha) {
  const anchors = new Float64Array(width * width);
  for (let c = 0; c < width; c++) anchors[c * width + c] = alpha;
  return anchors;
}

/**
 * What Class Anchor Clustering makes of one point's logits z[at .. at + C) of class y: distances d, softmin, and the
 * terms tuplet = log(1 + sum over j != y of exp(d_y - d_j)) and anchor = d_y. Miller et al., WACV 2021.
 */
function termsAt(z, at, width, anchors, y) {
  const d = new Float64Array(width);
  const softmin = new Float64Array(width);
  const least = distancesTo(z, at, width, anchors, { d, label: 0 });
  let total = 0;
  for (let j = 0; j < width; j++) total += softmin[j] = Math.exp(least - d[j]);
  for (let j = 0; j < width; j++) softmin[j] /= total;
  return { d, softmin, tuplet: d[y] - least + Math.log(total), anchor: d[y] };
}

function softmaxAt(z, at, width) {
  let top = -Infinity;
  for (let j = 0; j < width; j++) top = Math.max(top, z[at + j]);
  const p = new Float64Array(width);
  let total = 0;
  for (let j = 0; j < width; j++) total += p[j] = Math.exp(z[at + j] - top);
  for (let j = 0; j < width; j++) p[j] /= total;
  return { p, log: (y) => z[at + y] - top - Math.log(total) };
}

const LOSSES = {
  cac(z, labels, count, width, { alpha, lambda }, byLogits) {
    const anchors = anchorsOf(width, alpha);
    const sums = { total: 0, tuplet: 0, anchor: 0 };
    for (let i = 0; i < count; i++) {
      const y = labels[i];
      const { d, softmin, tuplet, anchor } = termsAt(z, i * width, width, anchors, y);
      sums.tuplet += tuplet / count;
      sums.anchor += anchor / count;
      for (let k = 0; k < width; k++) {
        let slope = 0;
        for (let j = 0; j < width; j++) {
          const byDistance = (j === y ? 1 + lambda : 0) - softmin[j];
          if (d[j] > 0) slope += (byDistance * (z[i * width + k] - anchors[j * width + k])) / d[j];
        }
        byLogits[i * width + k] = slope / count;
      }
    }
    sums.total = sums.tuplet + lambda * sums.anchor;
    return sums;
  },
  softmax(z, labels, count, width, options, byLogits) {
    let total = 0;
    for (let i = 0; i < count; i++) {
      const { p, log } = softmaxAt(z, i * width, width);
      total -= log(labels[i]) / count;
      for (let k = 0; k < width; k++) byLogits[i * width + k] = (p[k] - (k === labels[i] ? 1 : 0)) / count;
    }
    return { total };
  },
};

// --- training --------------------------------------------------------------------------------------------------------

const BATCH = 32;
const MOMENTUM = 0.9;

/** The rows of a table [N, I] with these numbers. */
function rowsOf(table, rows, width) {
  const some = new Float64Array(rows.length * width);
  rows.forEach((row, n) => some.set(table.subarray(row * width, (row + 1) * width), n * width));
  return some;
}

/** One epoch over rows of x [N, I] in their order, in batches; gives the mean loss terms. */
function epochOver(network, x, labels, order, method, options) {
  const inputs = network.sizes[0];
  const width = network.sizes[network.sizes.length - 1];
  const sums = {};
  for (let from = 0; from < order.length; from += BATCH) {
    const rows = order.subarray(from, from + BATCH);
    const batch = rowsOf(x, rows, inputs);
    const byLogits = new Float64Array(rows.length * width);
    const z = network.forward(batch, rows.length);
    const terms = LOSSES[method](
      z,
      Array.from(rows, (row) => labels[row]),
      rows.length,
      width,
      options,
      byLogits,
    );
    network.backward(batch, rows.length, byLogits);
    network.step(options.rate, MOMENTUM);
    for (const [name, value] of Object.entries(terms)) {
      sums[name] = (sums[name] ?? 0) + (value * rows.length) / order.length;
    }
  }
  return sums;
}
