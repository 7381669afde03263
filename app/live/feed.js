// The feed: one blob of typed columns a run, sent once, kept on the page, shared by all views.
//
// Layout of the blob, all little-endian: uint32 length of the header; the header as JSON; then each column where the
// header says, counted from the header's end, at a multiple of 8 bytes.

const KINDS = {
  float64: Float64Array,
  float32: Float32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
};
const MOST_FEEDS = 4;

let halves = null;

/** Values of half precision, by a table of all 65 536 of them: Float16Array is not in every browser. */
function fromHalf(bits) {
  if (!halves) {
    halves = new Float32Array(65536);
    for (let h = 0; h < 65536; h++) {
      const power = (h >> 10) & 31;
      const part = h & 1023;
      let value = power ? (1 + part / 1024) * 2 ** (power - 15) : (part / 1024) * 2 ** -14;
      if (power === 31) value = part ? NaN : Infinity;
      halves[h] = h >> 15 ? -value : value;
    }
  }
  return Float32Array.from(bits, (h) => halves[h]);
}

/** The header of a blob and where it ends; throws where the blob is none. */
function headerOf(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
}

/** The columns of a blob by name, and its header. */
function unpacked(bytes) {
  const header = headerOf(bytes);
  const { buffer } = bytes.slice(); // begins at 0, so that every column is aligned, and frees the message it came in
  const begin = 4 + new DataView(buffer).getUint32(0, true);
  const feed = { id: header.id, header };
  for (const { name, dtype, shape, offset } of header.columns) {
    const length = shape.reduce((a, b) => a * b, 1);
    const kind = dtype === "float16" ? Uint16Array : KINDS[dtype];
    const values = new kind(buffer, begin + offset, length);
    feed[name] = dtype === "float16" ? fromHalf(values) : values;
  }
  if (feed.logits) {
    [feed.count, feed.width] = header.columns.find((column) => column.name === "logits").shape;
  }
  return feed;
}

/** What the page keeps: at most four feeds, the ones used last, and who waits for one. */
function shelf() {
  window.anchorscopeFeeds ??= { feeds: new Map(), waiting: new Set() };
  return window.anchorscopeFeeds;
}

function keepFeed(bytes) {
  const { feeds, waiting } = shelf();
  if (feeds.has(headerOf(bytes).id)) return;
  const feed = unpacked(bytes);
  feeds.set(feed.id, feed);
  for (const id of [...feeds.keys()].slice(0, -MOST_FEEDS)) feeds.delete(id);
  for (const tell of [...waiting]) tell();
}

/** Takes in what Streamlit brought; what is no feed is said by the views that wait for it. */
function takeIn(bytes) {
  const kept = shelf();
  try {
    kept.broken = false;
    keepFeed(bytes);
  } catch (error) {
    kept.broken = true;
    console.warn(`A feed could not be read: ${error.message}`);
    for (const tell of [...kept.waiting]) tell();
  }
}

/** A feed by its id, or undefined; asking for it keeps it on the page. */
function feedOf(id) {
  const { feeds } = shelf();
  const feed = feeds.get(id);
  if (feed) {
    feeds.delete(id);
    feeds.set(id, feed);
  }
  return feed;
}

/** Rows as a text, a bit each: that of row r is bit r % 8 of byte r >> 3, all in base64. */
function packedRows(rows) {
  const bytes = new Uint8Array(rows.reduce((most, row) => Math.max(most, (row >> 3) + 1), 0));
  for (const row of rows) bytes[row >> 3] |= 1 << (row & 7);
  return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
}

/** The rows of such a text, in order. */
function unpackedRows(text) {
  const rows = [];
  for (const [at, letter] of [...atob(text)].entries()) {
    for (let bit = 0; bit < 8; bit++) if (letter.charCodeAt(0) & (1 << bit)) rows.push(8 * at + bit);
  }
  return rows;
}

/** The logits of a feed: as they are for eps 0, for eps e under the e-th of its perturbations. */
function logitsOf(feed, eps) {
  if (!eps || !feed.eps_logits) return feed.logits;
  const size = feed.count * feed.width;
  return feed.eps_logits.subarray((eps - 1) * size, eps * size);
}
