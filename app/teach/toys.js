// What the lab's network learns from: points on a plane in three classes, or three of the ten digits, and unknowns that
// it is never trained on. Pure: no page.

const LETTERS = ["A", "B", "C"];
const POINTS = 800; // of the known classes; every fourth is held out
const STRANGERS = 150; // unknowns
const VIEW = 4; // the plane is seen from -4 to 4
const SIDE = 8; // of a digit, in pixels, each 0 to 16
const DATA = ["blobs", "moons", "spirals", "drawn", "digits"];
const UNKNOWNS = { plane: ["none", "blob", "ring", "noise", "drawing"], digits: ["none", "digit", "noise", "drawing"] };

const turned = (x, y, part) => {
  const angle = 2 * Math.PI * part;
  return [x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle)];
};

/** One point of class c of three, before its noise; t goes from 0 to 1 along the class. */
const SHAPES_OF = {
  blobs: (c) => turned(0, 1.9, c / 3),
  moons: (c, t) => turned(1.35 * Math.cos(Math.PI * t) + 0.75, 1.35 * Math.sin(Math.PI * t) + 0.35, c / 3),
  spirals: (c, t) => turned((0.35 + 2.25 * t) * Math.cos(3.6 * t), (0.35 + 2.25 * t) * Math.sin(3.6 * t), c / 3),
};
const NOISE_OF = { blobs: 1, moons: 0.45, spirals: 0.3 };

const UNKNOWN_AT = {
  blob: (random, [x, y]) => [x + 0.3 * random.normal(), y + 0.3 * random.normal()],
  ring: (random) => turned(3.4 + 0.12 * random.normal(), 0, random.next()),
  noise: (random) => [(2 * random.next() - 1) * VIEW, (2 * random.next() - 1) * VIEW],
};

/** Points as text for an address: five letters each, two for either coordinate, one for the class (3 = unknown). */
const CODE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const MOST_POINTS = 1000;

function pointsToText(points) {
  const two = (value) => {
    const n = Math.round(((Math.min(Math.max(value, -VIEW), VIEW) + VIEW) / (2 * VIEW)) * 4095);
    return CODE[n >> 6] + CODE[n & 63];
  };
  return points.map(({ x, y, c }) => two(x) + two(y) + CODE[c]).join("");
}

/** The points in a text; what is no point is left out. */
function pointsFromText(text) {
  const points = [];
  for (let at = 0; at + 5 <= text.length && points.length < MOST_POINTS; at += 5) {
    const [a, b, c, d, e] = [...text.slice(at, at + 5)].map((letter) => CODE.indexOf(letter));
    if (Math.min(a, b, c, d, e) < 0 || e > 3) continue;
    const back = (high, low) => ((high * 64 + low) / 4095) * 2 * VIEW - VIEW;
    points.push({ x: back(a, b), y: back(c, d), c: e });
  }
  return points;
}

/**
 * The data that a state names: {plane, inputs, x [N, I], labels [N] (-1 unknown), held [N] (1 = not trained on), names,
 * pixels [N] (the digit's number, -1 where there is none)}. digits: {pixels: a letter a to q each, labels: a text}.
 */
function dataOf(state, digits) {
  const random = new Random(state.seed * 7919 + 17);
  return state.data === "digits" ? digitsOf(state, digits, random) : planeOf(state, random);
}

function planeOf(state, random) {
  const drawn = pointsFromText(state.points);
  const points = [];
  if (state.data === "drawn") points.push(...drawn.filter(({ c }) => c < 3));
  else {
    const spread = state.noise * NOISE_OF[state.data];
    for (let i = 0; i < POINTS; i++) {
      const c = i % 3;
      const [x, y] = SHAPES_OF[state.data](c, random.next());
      points.push({ x: x + spread * random.normal(), y: y + spread * random.normal(), c });
    }
  }
  const count = [0, 0, 0];
  const held = points.map(({ c }) => (++count[c] % 4 === 0 ? 1 : 0));
  if (state.unknown === "drawing") points.push(...drawn.filter(({ c }) => c === 3));
  else if (UNKNOWN_AT[state.unknown]) {
    const others = new Random(state.seed * 104729 + 71);
    for (let i = 0; i < STRANGERS; i++) {
      const [x, y] = UNKNOWN_AT[state.unknown](others, state.at);
      points.push({ x, y, c: 3 });
    }
  }
  return {
    plane: true,
    inputs: 2,
    x: Float64Array.from(points.flatMap(({ x, y }) => [x, y])),
    labels: Int8Array.from(points, ({ c }) => (c < 3 ? c : -1)),
    held: Uint8Array.from(points, (_, i) => held[i] ?? 1),
    names: LETTERS,
    pixels: new Int32Array(points.length).fill(-1),
  };
}

/** The ink of a drawing's 64 letters 0 to f, each 0 to 1. */
const inkOf = (drawing) => Float64Array.from(drawing, (letter) => parseInt(letter, 16) / 15);

function digitsOf(state, digits, random) {
  const size = SIDE * SIDE;
  const rows = [];
  const labels = [];
  const held = [];
  const pixels = [];
  const add = (x, label, out, number) => {
    rows.push(x);
    labels.push(label);
    held.push(out);
    pixels.push(number);
  };
  const image = (i) =>
    Float64Array.from({ length: size }, (_, k) => {
      const ink = (digits.pixels.charCodeAt(i * size + k) - 97) / 16;
      return ink + 0.25 * state.noise * random.normal();
    });
  state.classes.forEach((digit, c) => {
    const mine = random.shuffled(Array.from(digits.labels, Number).flatMap((d, i) => (d === digit ? [i] : [])));
    mine.forEach((i, n) => add(image(i), c, n % 4 === 3 ? 1 : 0, i));
  });
  if (state.unknown === "digit") {
    Array.from(digits.labels, Number).forEach((d, i) => {
      if (d === state.stranger) add(image(i), -1, 1, i);
    });
  } else if (state.unknown === "noise") {
    for (let i = 0; i < STRANGERS; i++) add(Float64Array.from({ length: size }, () => random.next()), -1, 1, -1);
  } else if (state.unknown === "drawing" && state.drawing) {
    add(inkOf(state.drawing), -1, 1, -1);
  }
  const x = new Float64Array(rows.length * size);
  rows.forEach((row, i) => x.set(row, i * size));
  return {
    plane: false,
    inputs: size,
    x,
    labels: Int8Array.from(labels),
    held: Uint8Array.from(held),
    names: state.classes.map(String),
    pixels: Int32Array.from(pixels),
  };
}
