// What of the lab's state stands in the address, and how it is read from there. What makes no sense is passed over.

const real = (low, high) => (text) => {
  const value = text === "" ? NaN : Number(text);
  return value >= low && value <= high ? value : undefined;
};
const whole = (low, high) => (text) => {
  const value = real(low, high)(text);
  return Number.isInteger(value) ? value : undefined;
};
const among = (...choices) => (text) => (choices.includes(text) ? text : undefined);

const LINK = {
  data: among(...DATA),
  classes(text) {
    const digits = text.split(",").map(whole(0, 9));
    return digits.length === 3 && !digits.includes(undefined) && new Set(digits).size === 3 ? digits : undefined;
  },
  method: among("cac", "softmax"),
  alpha: real(0.1, 1000),
  lambda: real(0, 1000),
  rate: real(1e-6, 10),
  noise: real(0, 3),
  width: whole(2, 128),
  seed: whole(0, 999999),
  keep: real(0.01, 1),
  unknown: among(...new Set(Object.values(UNKNOWNS).flat())),
  at(text) {
    const place = text.split(",").map(real(-VIEW, VIEW));
    return place.length === 2 && !place.includes(undefined) ? place : undefined;
  },
  stranger: whole(0, 9),
  points: (text) => pointsToText(pointsFromText(text)),
  drawing: (text) => (/^[0-9a-f]{64}$/.test(text) ? text : undefined),
  epochs: whole(0, MOST_EPOCHS),
};
const NAME_OF = { keep: "kept", epochs: "epoch" }; // other pages have other things of these names in the address

/** The part of a state that an address names. */
function stateFrom(search) {
  const asked = new URLSearchParams(search);
  const state = {};
  for (const [name, read] of Object.entries(LINK)) {
    const value = asked.has(name) ? read(asked.get(name)) : undefined;
    if (value !== undefined) state[NAME_OF[name] ?? name] = value;
  }
  return state;
}

const hiddenIn = (search) => (new URLSearchParams(search).get("hide") ?? "").split(",").filter(Boolean);

/** The address with what differs from the usual, and with `hide`. */
function addressOf(href, state, usual, hide) {
  const url = new URL(href);
  for (const name of Object.keys(LINK)) {
    const key = NAME_OF[name] ?? name;
    const text = String(state[key]);
    if (text === String(usual[key])) url.searchParams.delete(name);
    else url.searchParams.set(name, text);
  }
  if (hide.length) url.searchParams.set("hide", hide.join(","));
  else url.searchParams.delete("hide");
  return url.href.replaceAll("%2C", ",");
}

/** A state that can be: unknowns that the data has, a stranger that is none of the classes. */
function settled(state) {
  const kinds = UNKNOWNS[state.data === "digits" ? "digits" : "plane"];
  const unknown = kinds.includes(state.unknown) ? state.unknown : kinds[1];
  const stranger = state.classes.includes(state.stranger)
    ? [7, 8, 9, 0].find((digit) => !state.classes.includes(digit))
    : state.stranger;
  return { ...state, unknown, stranger };
}
