// The arithmetic of cac_core/scoring and app/charts.py once more, so that theta and T can move
// without asking the server. Pure: no page, no state. tests/app/test_live.py holds it against Python.
//
// N images, C known classes; tables are typed arrays, row after row. Labels are 0 to C - 1, or -1 for unknown. A score
// is higher the more unknown an image looks; it is rejected when score > theta.

// --- scores ----------------------------------------------------------------------------------------------------------

/** Distances of the logits z[at .. at + C) to each centre go to room.d; gives the least, its class in room.label. */
function distancesTo(z, at, width, centres, room) {
  let least = Infinity;
  for (let j = 0; j < width; j++) {
    let sum = 0;
    for (let k = 0; k < width; k++) {
      const gap = z[at + k] - centres[j * width + k];
      sum += gap * gap;
    }
    const d = (room.d[j] = Math.sqrt(sum));
    if (d < least) {
      least = d;
      room.label = j;
    }
  }
  return least;
}

function largest(z, at, width, room) {
  room.label = 0;
  for (let k = 1; k < width; k++) if (z[at + k] > z[at + room.label]) room.label = k;
  return z[at + room.label];
}

/** One image each: (logits, where its row begins, C, centres, T, room) -> score, the nearest class in room.label. */
const SCORERS = {
  gamma(z, at, width, centres, temperature, room) {
    const near = distancesTo(z, at, width, centres, room) / temperature;
    let total = 0;
    for (let j = 0; j < width; j++) total += room.e[j] = Math.exp(near - room.d[j] / temperature);
    let least = Infinity;
    for (let j = 0; j < width; j++) {
      const rejection = room.d[j] * (1 - room.e[j] / total);
      if (rejection < least) {
        least = rejection;
        room.label = j;
      }
    }
    return least;
  },
  distance(z, at, width, centres, temperature, room) {
    return distancesTo(z, at, width, centres, room);
  },
  msp(z, at, width, centres, temperature, room) {
    const top = largest(z, at, width, room) / temperature;
    let others = 0;
    for (let k = 0; k < width; k++) if (k !== room.label) others += Math.exp(z[at + k] / temperature - top);
    return others / (1 + others);
  },
  max_logit(z, at, width, centres, temperature, room) {
    return -largest(z, at, width, room);
  },
  energy(z, at, width, centres, temperature, room) {
    const top = largest(z, at, width, room) / temperature;
    let total = 0;
    for (let k = 0; k < width; k++) total += Math.exp(z[at + k] / temperature - top);
    return -temperature * (top + Math.log(total));
  },
};
const TEMPERED = ["gamma", "msp", "energy"];
const CENTRED = ["gamma", "distance"]; // these measure distances to centres

const roomFor = (width) => ({ d: new Float64Array(width), e: new Float64Array(width), label: 0 });

/** score [N] and label [N] of logits [N, C]; centresAt: row -> the centres [C, C] that it is judged by. */
function verdictOf(scorer, logits, width, centresAt, temperature) {
  const count = logits.length / width;
  const score = new Float64Array(count);
  const label = new Int16Array(count);
  const room = roomFor(width);
  const one = SCORERS[scorer];
  for (let i = 0; i < count; i++) {
    score[i] = one(logits, i * width, width, centresAt(i), temperature, room);
    label[i] = room.label;
  }
  return { score, label };
}

/** The distance [N] of each row to the nearest centre. */
function nearestDistances(logits, width, centresAt) {
  return verdictOf("distance", logits, width, centresAt, 1).score;
}

// --- every threshold at once -----------------------------------------------------------------------------------------

/** scores, ascending */
const ascending = (scores) => Float64Array.from(scores).sort();

/** How many of these ascending scores are <= theta. */
function upTo(sorted, theta) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= theta) low = middle + 1;
    else high = middle;
  }
  return low;
}

const SAME = 1e-9; // relative: so close come two ways of computing one score

/**
 * Theta as one of these scores, where it is one but for the last digits: a rule that was computed elsewhere gives a
 * score, and the image that has it is accepted. Lists are ascending.
 */
function onScore(theta, lists) {
  if (!Number.isFinite(theta)) return theta;
  const near = SAME * Math.abs(theta);
  const below = (list) => list[upTo(list, theta + near) - 1] ?? -Infinity;
  const highest = Math.max(...lists.map(below));
  return highest >= theta - near ? highest : theta;
}

/**
 * The lowest theta by which new images are kept at least to this share on average, from these ascending scores: that of
 * rank ceil(kept (N + 1)), the largest where that is beyond N; nan where there is none.
 */
function thetaAt(kept, sorted) {
  if (!sorted.length) return NaN;
  const rank = Math.max(Math.ceil(kept * (sorted.length + 1) - 1e-9), 1);
  return sorted[Math.min(rank, sorted.length) - 1];
}

/** For each distinct score, from the lowest up: thetas, and the knowns and unknowns with a score <= it. */
function curveOf(known, unknown) {
  const thetas = [];
  const kept = [];
  const accepted = [];
  let k = 0;
  let u = 0;
  while (k < known.length || u < unknown.length) {
    const theta = Math.min(k < known.length ? known[k] : Infinity, u < unknown.length ? unknown[u] : Infinity);
    while (k < known.length && known[k] === theta) k++;
    while (u < unknown.length && unknown[u] === theta) u++;
    thetas.push(theta);
    kept.push(k);
    accepted.push(u);
  }
  return { thetas, kept, accepted, knowns: known.length, unknowns: unknown.length };
}

/** How often an unknown scores higher than a known, ties counting half. */
function auroc({ kept, accepted, knowns, unknowns }) {
  if (!knowns || !unknowns) return NaN;
  let pairs = 0;
  for (let i = 0; i < kept.length; i++) {
    const before = i ? kept[i - 1] : 0;
    pairs += (accepted[i] - (i ? accepted[i - 1] : 0)) * (before + (kept[i] - before) / 2);
  }
  return pairs / (knowns * unknowns);
}

/** At most `most` corners [knowns rejected, unknowns caught] of the ROC curve, from (1, 1) down to (0, 0). */
function rocCorners(curve, most = 400) {
  const corners = [[1, 1]];
  const steps = curve.thetas.length;
  const stride = Math.max(1, steps / most);
  for (let step = 0; step < steps; step += stride) corners.push(rocCorner(curve, Math.floor(step)));
  corners.push([0, 0]);
  return corners;
}

const rocCorner = (curve, i) => [1 - curve.kept[i] / curve.knowns, 1 - curve.accepted[i] / curve.unknowns];

// --- at one theta ----------------------------------------------------------------------------------------------------

/** Counts [C + 1, C + 1] over these rows: truth down, decision across, the last of each unknown. */
function confusionAt(theta, score, label, labels, rows, width) {
  const table = new Int32Array((width + 1) * (width + 1));
  for (const i of rows) {
    const truth = labels[i] < 0 ? width : labels[i];
    table[truth * (width + 1) + (score[i] > theta ? width : label[i])]++;
  }
  return table;
}

/** The rows whose scores lie nearest to theta on either side, at most so many, the nearest first. */
function borderline(theta, score, rows, most) {
  const [below, above] = [[], []];
  for (const i of rows) {
    const side = score[i] > theta ? above : below;
    const nearer = (j) => (side === above ? score[i] < score[j] : score[i] > score[j]);
    if (side.length === most && !nearer(side[most - 1])) continue;
    let place = side.length;
    while (place > 0 && nearer(side[place - 1])) place--;
    side.splice(place, 0, i);
    if (side.length > most) side.pop();
  }
  return { below, above };
}

/** What a confusion table says: knowns, kept, right (kept and named right), unknowns, caught; counts. */
function countsIn(table, width) {
  const counts = { knowns: 0, kept: 0, right: 0, unknowns: 0, caught: 0 };
  for (let truth = 0; truth <= width; truth++) {
    for (let called = 0; called <= width; called++) {
      const n = table[truth * (width + 1) + called];
      counts[truth < width ? "knowns" : "unknowns"] += n;
      if (truth < width && called < width) counts.kept += n;
      if (truth < width && called === truth) counts.right += n;
      if (truth === width && called === width) counts.caught += n;
    }
  }
  return counts;
}

/** The share of unknowns among accepted images where this share of all is unknown; nan where none is accepted. */
function unknownAmongAccepted({ knowns, kept, unknowns, caught }, share) {
  const wrong = share * (1 - caught / unknowns);
  const fine = (1 - share) * (kept / knowns);
  return wrong / (wrong + fine);
}

/** 95 % confidence interval of a share. Wilson, JASA 1927. */
function wilson(hits, of) {
  if (!of) return [NaN, NaN];
  const z = 1.959963984540054;
  const share = hits / of;
  const spread = (z * z) / of;
  const middle = share + spread / 2;
  const half = z * Math.sqrt((share * (1 - share)) / of + spread / (4 * of));
  // of none and of all an end is 0 or 1 itself, which rounding would miss
  return [
    hits ? Math.max(0, (middle - half) / (1 + spread)) : 0,
    hits < of ? Math.min(1, (middle + half) / (1 + spread)) : 1,
  ];
}

// --- the scale of a score --------------------------------------------------------------------------------------------

/** Where scores lie, as charts.Scale: logarithmic where most crowd near zero. Both sides ascending, knowns first. */
function scaleOf(known, unknown) {
  const both = [known, unknown].filter((side) => side.length);
  if (!both.length) return { low: 0, high: 1, log: false };
  const low = Math.min(...both.map((side) => side[0]));
  const high = Math.max(...both.map((side) => side[side.length - 1]));
  const first = both[0];
  if (low >= 0 && high > 30 * quantile(first, 0.5) && high > 0) {
    const every = new Float64Array(known.length + unknown.length);
    every.set(known);
    every.set(unknown, known.length);
    every.sort();
    const least = Math.max(quantile(every.subarray(upTo(every, 0)), 0.002), high * 1e-6);
    return { low: twoDigits(least, Math.floor), high: twoDigits(high, Math.ceil), log: true };
  }
  const edge = 0.02 * (high - low) || 1;
  return { low: low - edge, high: high + edge, log: false };
}

const BINS = 48; // of a histogram
const BEYOND = 0.25; // of an axis by quantiles, for what lies above all knowns

/** Whether more than half of these scores lie in one bin, so that nothing can be seen there. */
function crowded(scores, scale) {
  return Math.max(...histogram(scores, scale, edgesOf(scale, BINS))) > scores.length / 2;
}

/**
 * A scale by quantiles of the knowns: each step to the right leaves the same part of those above that were above before,
 * so that the tail, where theta is, has room however the others crowd. Above all knowns it goes by quantiles of the
 * unknowns there. Both sides ascending, some knowns.
 */
function quantileScaleOf(known, unknown) {
  const count = known.length;
  const last = known[count - 1];
  const beyond = unknown.filter((score) => score > last);
  const [x, p] = [[], []];
  const push = (score, place) => {
    if (x.length && score <= x[x.length - 1]) p[p.length - 1] = place;
    else (x.push(score), p.push(place));
  };
  push(Math.min(known[0], unknown[0] ?? Infinity), 0);
  const room = beyond.length ? 1 - BEYOND : 1;
  const steps = 64;
  for (let n = 0; n < steps; n++) push(quantile(known, 1 - count ** (-n / steps)), (room * n) / steps);
  push(last, room);
  for (let n = 1; beyond.length && n <= 16; n++) push(quantile(beyond, n / 16), room + (BEYOND * n) / 16);
  if (x.length < 2) {
    p[0] = 0; // all scores are the same
    x.push(x[0] + (Math.abs(x[0]) || 1));
    p.push(1);
  }
  const first = p[0];
  const places = Float64Array.from(p, (place) => (place - first) / (p[p.length - 1] - first));
  const rounded = (score) => Number(score.toPrecision(3));
  const marks = [0.5, 0.9, 0.99, 0.999]
    .filter((share) => share < 1 - 1 / count)
    .map((share) => [rounded(quantile(known, share)), share]);
  return {
    low: x[0],
    high: x[x.length - 1],
    log: false,
    knots: { x: Float64Array.from(x), places },
    marks: beyond.length ? [...marks, [rounded(quantile(beyond, 0.5)), null]] : marks,
  };
}

/** Where `value` lies between the knots `from`, in the same place between those of `to`; both ascending. */
function betweenKnots(value, from, to) {
  const after = Math.min(Math.max(upTo(from, value), 1), from.length - 1);
  const share = (value - from[after - 1]) / (from[after] - from[after - 1]);
  return to[after - 1] + Math.min(Math.max(share, 0), 1) * (to[after] - to[after - 1]);
}

function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

function twoDigits(x, way) {
  const unit = 10 ** (Math.floor(Math.log10(x)) - 1);
  return Number((way(x / unit) * unit).toPrecision(6));
}

const clipped = (scale, x) => Math.min(Math.max(x, scale.low), scale.high);

/** Where a score lies on its axis, 0 to 1. */
function placeOn(scale, x) {
  const at = clipped(scale, x);
  if (scale.knots) return betweenKnots(at, scale.knots.x, scale.knots.places);
  if (scale.log) return Math.log(at / scale.low) / Math.log(scale.high / scale.low);
  return (at - scale.low) / (scale.high - scale.low);
}

/** The score at a place 0 to 1, rounded to what a person would say. */
function scoreAt(scale, place) {
  const share = Math.min(Math.max(place, 0), 1);
  if (share === 1) return scale.high;
  if (scale.knots) {
    const [score, next] = [share, share + 1 / 500].map((at) => betweenKnots(at, scale.knots.places, scale.knots.x));
    const digits = Math.ceil(Math.log10(Math.abs(score) / Math.abs(next - score || score))) + 1;
    return Number(score.toPrecision(Math.min(Math.max(digits, 3), 12)));
  }
  if (scale.log) return Number((scale.low * (scale.high / scale.low) ** share).toPrecision(4));
  const step = 10 ** (Math.floor(Math.log10(scale.high - scale.low)) - 3);
  return Number((Math.round((scale.low + share * (scale.high - scale.low)) / step) * step).toPrecision(12));
}

/** count + 1 edges, evenly spread on the axis. */
function edgesOf(scale, count) {
  const edges = new Float64Array(count + 1);
  for (let i = 0; i <= count; i++) {
    if (scale.knots) edges[i] = betweenKnots(i / count, scale.knots.places, scale.knots.x);
    else edges[i] = scale.log
      ? scale.low * (scale.high / scale.low) ** (i / count)
      : scale.low + ((scale.high - scale.low) * i) / count;
  }
  edges[count] = scale.high;
  return edges;
}

/** How many of these scores lie between each two edges; those beyond an end count at that end. */
function histogram(scores, scale, edges) {
  const bins = edges.length - 1;
  const counts = new Int32Array(bins);
  for (const score of scores) {
    const x = clipped(scale, score);
    let bin = Math.min(Math.floor(placeOn(scale, x) * bins), bins - 1);
    while (bin > 0 && x < edges[bin]) bin--;
    while (bin < bins - 1 && x >= edges[bin + 1]) bin++;
    counts[bin]++;
  }
  return counts;
}

/** Round values for an axis: 1, 2 or 5 times a power of ten; on a long logarithmic axis the powers alone. */
function ticksOf(scale, most) {
  const ticks = [];
  if (scale.knots) return scale.marks.map(([score]) => score);
  if (scale.log) {
    const decades = Math.log10(scale.high / scale.low);
    const every = Math.max(1, Math.ceil(decades / most));
    const within = decades * 3 <= most ? [1, 2, 5] : [1];
    for (let e = Math.floor(Math.log10(scale.low)); e <= Math.log10(scale.high); e += every) {
      for (const m of within) ticks.push(Number(`${m}e${e}`));
    }
  } else {
    const rough = (scale.high - scale.low) / most;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find((m) => m * unit >= rough);
    const first = Math.ceil(scale.low / step);
    for (let i = first; i * step <= scale.high; i++) ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks.filter((x) => x >= scale.low && x <= scale.high);
}

/** Ticks [value, place] of the part of a scale between two places, which may lie beyond its ends. */
function ticksBetween(scale, from, to, most) {
  const at = (place) =>
    scale.log
      ? scale.low * (scale.high / scale.low) ** place
      : scale.low + (scale.high - scale.low) * place;
  if (scale.knots) {
    const all = ticksOf(scale).map((value) => [value, placeOn(scale, value)]);
    return all.filter(([, place]) => place >= from && place <= to);
  }
  const part = { low: at(from), high: at(to), log: scale.log };
  return ticksOf(part, most).map((value) => [value, from + (to - from) * placeOn(part, value)]);
}

// --- where images lie ------------------------------------------------------------------------------------------------

/** Centre [C] and reach of the wheel, as charts.wheel_frame; anchors may be null. */
function wheelFrame(means, anchors, width) {
  const centre = new Float64Array(width);
  if (anchors) return { centre, reach: anchors[0] };
  for (let j = 0; j < width; j++) for (let k = 0; k < width; k++) centre[k] += means[j * width + k] / width;
  let reach = 0;
  for (let j = 0; j < width; j++) {
    let others = 0;
    for (let k = 0; k < width; k++) if (k !== j) others += means[j * width + k] - centre[k];
    reach += (means[j * width + j] - centre[j] - others / (width - 1)) / width;
  }
  return { centre, reach: Math.max(reach, 1e-6) };
}

/** Linear places [N, 2]: xy = sum over k of (z - centre)_k (along_k, up_k). */
function projected(logits, width, centre, along, up) {
  const count = logits.length / width;
  const xy = new Float64Array(2 * count);
  for (let i = 0; i < count; i++) {
    let x = 0;
    let y = 0;
    for (let k = 0; k < width; k++) {
      const z = logits[i * width + k] - centre[k];
      x += z * along[k];
      y += z * up[k];
    }
    xy[2 * i] = x;
    xy[2 * i + 1] = y;
  }
  return xy;
}

/** The two axes of the wheel: class order[p] points towards (cos, sin)(2 pi p / C). */
function wheelAxes(order, reach) {
  const along = new Float64Array(order.length);
  const up = new Float64Array(order.length);
  order.forEach((c, place) => {
    along[c] = Math.cos((2 * Math.PI * place) / order.length) / reach;
    up[c] = Math.sin((2 * Math.PI * place) / order.length) / reach;
  });
  return { along, up };
}

/** The two axes of three logits seen from `turn` about the vertical axis and `tilt` above the ground, and the depth. */
function solidAxes(triple, width, reach, turn, tilt) {
  const axes = { along: new Float64Array(width), up: new Float64Array(width), depth: new Float64Array(width) };
  // the three logits' axes: the first two on the ground, the third upright
  const ground = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ];
  triple.forEach((c, n) => {
    const [x, y, z] = ground[n];
    const ahead = -x * Math.sin(turn) + y * Math.cos(turn);
    axes.along[c] = (x * Math.cos(turn) + y * Math.sin(turn)) / reach;
    axes.up[c] = (z * Math.cos(tilt) + ahead * Math.sin(tilt)) / reach;
    axes.depth[c] = (ahead * Math.cos(tilt) - z * Math.sin(tilt)) / reach;
  });
  return axes;
}

/** Pieces [x0, y0, x1, y1] of the line along which a grid [rows, columns] of values crosses a level, in grid steps. */
function contour(values, columns, rows, level) {
  const pieces = [];
  const cross = (a, b) => (level - a) / (b - a);
  for (let r = 0; r + 1 < rows; r++) {
    for (let c = 0; c + 1 < columns; c++) {
      const at = r * columns + c;
      const [a, b, d, e] = [values[at], values[at + 1], values[at + columns + 1], values[at + columns]];
      const ends = [];
      if (a > level !== b > level) ends.push([c + cross(a, b), r]);
      if (b > level !== d > level) ends.push([c + 1, r + cross(b, d)]);
      if (d > level !== e > level) ends.push([c + 1 - cross(d, e), r + 1]);
      if (e > level !== a > level) ends.push([c, r + 1 - cross(e, a)]);
      for (let n = 0; n + 1 < ends.length; n += 2) pieces.push([...ends[n], ...ends[n + 1]]);
    }
  }
  return pieces;
}

/** The pieces of a contour put together to lines of points, so that they can be dashed. */
function chained(pieces) {
  const key = (x, y) => `${x.toFixed(6)},${y.toFixed(6)}`;
  const ends = new Map(); // the pieces at each point
  const at = (name) => ends.get(name) ?? ends.set(name, []).get(name);
  for (const piece of pieces) {
    at(key(piece[0], piece[1])).push(piece);
    at(key(piece[2], piece[3])).push(piece);
  }
  const used = new Set();
  const follow = (line) => {
    for (;;) {
      const [x, y] = line[line.length - 1];
      const next = ends.get(key(x, y)).find((piece) => !used.has(piece));
      if (!next) return line;
      used.add(next);
      line.push(key(next[0], next[1]) === key(x, y) ? [next[2], next[3]] : [next[0], next[1]]);
    }
  };
  const lines = [];
  for (const piece of pieces) {
    if (used.has(piece)) continue;
    used.add(piece);
    const line = follow([
      [piece[0], piece[1]],
      [piece[2], piece[3]],
    ]);
    lines.push(follow(line.reverse()));
  }
  return lines;
}

/** Whether a place lies inside a closed line [M, 2]; even-odd. */
function inside(line, x, y) {
  let odd = false;
  for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
    const [xi, yi] = line[i];
    const [xj, yj] = line[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

// --- numbers in words ------------------------------------------------------------------------------------------------

// app/charts.py has the same, to the letter

const NUDGE = 1e-12; // relative: 5043 of 6000 are 84.05 %, which as a float lies a little below

/** So many decimals; halves go away from zero, and nothing is -0.0. */
function fixed(x, digits) {
  const said = (x * (1 + NUDGE)).toFixed(digits);
  return Number(said) === 0 ? said.replace("-", "") : said;
}

/** A share in percent, without the sign: below 1 it never reads 100, and above 0 never 0. */
function shareOf(x, digits = 1) {
  if (Number.isNaN(x)) return "–";
  const said = fixed(x * 100, digits);
  const unit = 10 ** -digits;
  if (x < 1 && said === fixed(100, digits)) return `≥${fixed(100 - unit, digits)}`;
  return x > 0 && said === fixed(0, digits) ? `≤${fixed(unit, digits)}` : said;
}

const percent = (x, digits = 1) => (Number.isNaN(x) ? "–" : `${shareOf(x, digits)}\u00a0%`);

function between([low, high], digits = 1) {
  return Number.isNaN(low) ? "–" : `${shareOf(low, digits)}–${shareOf(high, digits)}\u00a0%`;
}

/** Three significant digits, all of a whole part, and an exponent only where one cannot do without. */
function number(x, digits = 3) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "–" : x > 0 ? "∞" : "-∞";
  if (x === 0) return "0";
  const said = x.toExponential(digits - 1);
  const size = Number(said.split("e")[1]);
  return size < -5 || size > 6 ? said.replace(/([+-])(\d)$/, "$10$2") : fixed(x, Math.max(digits - 1 - size, 0));
}

/** Numbers that are compared: each as `number` says it, all with more digits where two that differ read alike. */
function apart(...values) {
  const differ = new Set(values).size;
  let said = values.map((x) => number(x));
  for (let digits = 4; digits <= 10 && new Set(said).size < differ; digits++) {
    said = values.map((x) => number(x, digits));
  }
  return said;
}

/** A number on an axis: 0.001, but 10⁻⁴ and 2·10⁻⁴. */
function shortNumber(x) {
  if (x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 1e5)) return String(x);
  const [part, power] = x.toExponential().split("e");
  const raised = [...power.replace("+", "")].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("");
  return part === "1" ? `10${raised}` : `${part}·10${raised}`;
}
