// Six pictures of the same logits. Each is made anew for a size, a choice of classes or a turn, and says where images
// lie, what is drawn below and above them, where anchors and class means are, and what the picture can and cannot show.
//
// A picture: place({logits, score}) -> places [N, 2] in pixels; frame(context, lens); over(context, theta, lens); points,
// the same for logits of anchors and means, null where they have no place, and marked, the classes that have some where
// not all; box, where it has axes that stay while one looks closer; depth [N] of the last placing, in the solid; note,
// sentences. Places are those of the whole picture; the lens of a camera says where they are seen.

const PICTURES = { wheel, solid, plane, strip, pca, umap };

/** The pictures that a feed has. */
function picturesOf({ width, pca_axes, umap }) {
  const able = { wheel: width > 2, solid: width > 2, plane: width > 1, strip: true, pca: pca_axes, umap };
  return Object.keys(PICTURES).filter((name) => able[name]);
}

const farthest = (lengths, share = 0.995) => quantile(ascending(lengths), share);

// --- the wheel: exact, linear, no fit --------------------------------------------------------------------------------

function wheel({ feed, state, width, height, extent, palette, say }) {
  const { centre, reach } = wheelFrame(feed.centres, feed.anchors ?? null, feed.width);
  const { along, up } = wheelAxes(state.order, reach);
  const flat = (logits) => projected(logits, feed.width, centre, along, up);
  const all = flat(extent);
  const lengths = Float64Array.from({ length: all.length / 2 }, (_, i) => Math.hypot(all[2 * i], all[2 * i + 1]));
  const rim = Math.max(1.15, farthest(lengths) * 1.05);
  const half = Math.max(60, Math.min(height / 2 - 42, width / 2 - (width < 480 ? 44 : 84)));
  const k = half / rim;
  const [cx, cy] = [width / 2, height / 2];
  const onPage = (xy) => {
    for (let i = 0; i < xy.length; i += 2) {
      const [x, y] = [xy[i], xy[i + 1]];
      const inward = Math.min(1, rim / Math.hypot(x, y)); // the first class is at the top, the others follow clockwise
      xy[i] = cx + y * k * inward;
      xy[i + 1] = cy - x * k * inward;
    }
    return xy;
  };
  const turn = (place) => (2 * Math.PI * place) / feed.width;
  return {
    place: ({ logits }) => onPage(flat(logits)),
    points: (logits) => onPage(flat(logits)),
    frame(context, lens) {
      context.strokeStyle = palette.faint;
      context.lineWidth = 1;
      for (let place = 0; place < feed.width; place++) {
        context.beginPath();
        context.moveTo(...lens.at([cx, cy]));
        context.lineTo(...lens.at([cx + half * Math.sin(turn(place)), cy - half * Math.cos(turn(place))]));
        context.stroke();
      }
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(...lens.at([cx, cy]), k * lens.scale, 0, 2 * Math.PI);
      context.stroke();
    },
    over() {},
    // where the names stand around the rim
    rim: state.order.map((c, place) => {
      const [sideways, upwards] = [Math.sin(turn(place)), Math.cos(turn(place))];
      const beside = Math.abs(sideways) > 0.2;
      const far = half + (beside ? 8 : 20);
      return { c, place, x: cx + far * sideways, y: cy - far * upwards, side: beside ? Math.sign(sideways) : 0 };
    }),
    placeAt: (x, y) => {
      const angle = (Math.atan2(x - cx, cy - y) + 2 * Math.PI) % (2 * Math.PI);
      return Math.round((angle / (2 * Math.PI)) * feed.width) % feed.width;
    },
    note: [
      feed.anchors
        ? say("Exact, without a fit: each class pulls its own way, and what resembles none stays in the middle.")
        : say("Exact, without a fit: each class pulls its own way, from the middle of the class means."),
      say("Images with different logits can meet in one place."),
    ],
  };
}

// --- three logits as they are ----------------------------------------------------------------------------------------

function solid({ feed, state, width, height, extent, palette, say, turn, tilt, text }) {
  const { centre, reach } = wheelFrame(feed.centres, feed.anchors ?? null, feed.width);
  const { triple } = state;
  const middle = Float64Array.from(centre);
  for (const c of triple) middle[c] += reach / 3;
  const axes = solidAxes(triple, feed.width, reach, turn, tilt);
  const radius = radiusOf(extent, feed.width, triple, middle, reach);
  const k = (Math.min(width, height) / 2 - 26) / radius;
  const nothing = new Float64Array(feed.width);
  const picture = { depth: null };
  const flat = (logits) => {
    const xy = projected(logits, feed.width, middle, axes.along, axes.up);
    const depth = projected(logits, feed.width, middle, axes.depth, nothing);
    for (let i = 0; i < xy.length; i += 2) {
      const nearer = k / (1 + (0.22 * depth[i]) / radius);
      xy[i] = width / 2 + xy[i] * nearer;
      xy[i + 1] = height / 2 - xy[i + 1] * nearer;
      depth[i / 2] = depth[i];
    }
    return { xy, depth: depth.subarray(0, xy.length / 2) };
  };
  const corner = (c, far) => {
    const z = Float64Array.from(centre);
    if (c >= 0) z[c] += far * reach;
    return [...flat(z).xy];
  };
  return Object.assign(picture, {
    marked: triple,
    place({ logits }) {
      const { xy, depth } = flat(logits);
      picture.depth = depth;
      return xy;
    },
    points: (logits) => flat(logits).xy,
    frame(context, lens) {
      const origin = corner(-1, 0);
      const line = (from, to, dashed) => {
        context.setLineDash(dashed ? [4, 4] : []);
        context.beginPath();
        context.moveTo(...lens.at(from));
        context.lineTo(...lens.at(to));
        context.stroke();
        context.setLineDash([]);
      };
      context.lineWidth = 1.5;
      context.strokeStyle = palette.faint;
      triple.forEach((c, n) => line(corner(c, 1), corner(triple[(n + 1) % 3], 1), true));
      for (const c of triple) {
        context.strokeStyle = palette.quiet;
        line(origin, corner(c, 1.22));
        const [x, y] = lens.at(corner(c, 1.36));
        text(context, feed.header.known[c], x, y, "center", 600);
      }
    },
    over() {},
    note: [
      feed.width === 3
        ? say("Exact: the three logits themselves.")
        : say("The logits of three classes as they are; those of the others are not seen."),
      say("Drag to turn, or use the arrow keys."),
    ],
  });
}

/** How far three logits reach from their middle; kept while the picture turns. */
function radiusOf(extent, width, triple, middle, reach) {
  const need = triple.join();
  if (radiusOf.extent !== extent || radiusOf.need !== need) {
    const lengths = new Float64Array(extent.length / width);
    for (let i = 0; i < lengths.length; i++) {
      let sum = 0;
      for (const c of triple) sum += ((extent[i * width + c] - middle[c]) / reach) ** 2;
      lengths[i] = Math.sqrt(sum);
    }
    Object.assign(radiusOf, { extent, need, far: Math.max(1, farthest(lengths)) });
  }
  return radiusOf.far;
}

// --- two logits, the strip, PCA, UMAP: a box with axes ---------------------------------------------------------------

/** The room around a box for its axes, whose text is so many times as large as usual. */
const roomAround = (em = 1) => ({ left: 64 * em, right: 18, top: 18, bottom: 50 * em });

/** A picture in a box from two scales: place by x and y of each image. */
function boxed({ width, height, palette, text, em = 1 }, across, up, names, more) {
  const room = roomAround(em);
  const box = { left: room.left, right: width - room.right, top: room.top, floor: height - room.bottom };
  const x = (value) => box.left + placeOn(across, value) * (box.right - box.left);
  const y = (value) => box.floor - placeOn(up, value) * (box.floor - box.top);
  const onPage = (xy) => {
    for (let i = 0; i < xy.length; i += 2) {
      xy[i] = x(xy[i]);
      xy[i + 1] = y(xy[i + 1]);
    }
    return xy;
  };
  return {
    box,
    x,
    y,
    onPage,
    over() {},
    points: () => null,
    frame(context, lens) {
      context.lineWidth = 1;
      context.strokeStyle = palette.faint;
      context.strokeRect(box.left + 0.5, box.top + 0.5, box.right - box.left, box.floor - box.top);
      const line = (...ends) => {
        context.beginPath();
        context.moveTo(ends[0], ends[1]);
        context.lineTo(ends[2], ends[3]);
        context.stroke();
      };
      const [wide, tall] = [box.right - box.left, box.floor - box.top];
      const [left, top] = lens.back(box.left, box.top);
      const [right, floor] = lens.back(box.right, box.floor);
      const seenAcross = [(left - box.left) / wide, (right - box.left) / wide];
      const seenUp = [(box.floor - floor) / tall, (box.floor - top) / tall];
      for (const [value, at] of names.bare ? [] : ticksBetween(across, ...seenAcross, Math.max(3, Math.floor(wide / (80 * em))))) {
        const here = lens.x(box.left + at * wide);
        line(here, box.top, here, box.floor);
        text(context, shortNumber(value), here, box.floor + 17 * em, "center");
      }
      for (const [value, at] of names.bare ? [] : ticksBetween(up, ...seenUp, Math.max(3, Math.floor(tall / (60 * em))))) {
        const here = lens.y(box.floor - at * tall);
        line(box.left, here, box.right, here);
        text(context, shortNumber(value), box.left - 8, here, "right");
      }
      const middle = [(box.left + box.right) / 2, (box.top + box.floor) / 2];
      text(context, names.across, middle[0], height - 12 * em, "center", 400, 2 * (width - middle[0]) - 8);
      context.save();
      context.translate(14 * em, middle[1]);
      context.rotate(-Math.PI / 2);
      text(context, names.up, 0, 0, "center", 400, 2 * middle[1] - 8);
      context.restore();
    },
    ...more,
  };
}

/** What is drawn from here on, until the context is restored, stays within a box. */
function within(context, { left, top, right, floor }) {
  context.save();
  context.beginPath();
  context.rect(left, top, right - left, floor - top);
  context.clip();
}

/** Two linear scales about these places [N, 2], with one unit as long across as up, as the box asks. */
function evenScales(xy, { width, height, em }) {
  const range = (from) => {
    const sorted = ascending(xy.filter((value, i) => i % 2 === from && Number.isFinite(value)));
    const [low, high] = sorted.length ? [quantile(sorted, 0.002), quantile(sorted, 0.998)] : [0, 1];
    return { middle: (low + high) / 2, span: (high - low) * 1.1 || 1 };
  };
  const room = roomAround(em);
  const [wide, tall] = [width - room.left - room.right, height - room.top - room.bottom];
  const [across, up] = [range(0), range(1)];
  const unit = Math.max(across.span / wide, up.span / tall);
  const scale = ({ middle }, pixels) => ({
    low: middle - (unit * pixels) / 2,
    high: middle + (unit * pixels) / 2,
    log: false,
  });
  return [scale(across, wide), scale(up, tall)];
}

function plane(view) {
  const { feed, state, extent, say, palette } = view;
  const [a, b] = state.pair;
  const [along, up] = [new Float64Array(feed.width), new Float64Array(feed.width)];
  along[a] = up[b] = 1;
  const nothing = new Float64Array(feed.width);
  const flat = (logits) => projected(logits, feed.width, nothing, along, up);
  const centres = flat(feed.anchors ?? feed.centres);
  const both = new Float64Array((extent.length / feed.width) * 2 + centres.length);
  both.set(flat(extent));
  both.set(centres, both.length - centres.length);
  const [across, upward] = evenScales(both, view);
  const name = (c) => say("logit of {name}", { name: feed.header.known[c] });
  const picture = boxed(
    view,
    across,
    upward,
    { across: name(a), up: name(b) },
    {
      marked: state.pair,
      place: ({ logits }) => picture.onPage(flat(logits)),
      points: (logits) => picture.onPage(flat(logits)),
      over(context, theta, lens) {
        if (!view.slice) return;
        within(context, picture.box);
        context.strokeStyle = palette.text;
        context.lineWidth = 1.75;
        context.setLineDash([6, 4]);
        context.beginPath();
        const { values, columns, rows } = (picture.field ??= fieldOf(view, picture, across, upward));
        const wide = (picture.box.right - picture.box.left) / (columns - 1);
        const tall = (picture.box.floor - picture.box.top) / (rows - 1);
        for (const line of chained(contour(values, columns, rows, theta))) {
          line.forEach(([x, y], n) => {
            const place = [picture.box.left + x * wide, picture.box.floor - y * tall];
            context[n ? "lineTo" : "moveTo"](...lens.at(place));
          });
        }
        context.stroke();
        context.restore();
      },
      note: [
        feed.width === 2
          ? say("Exact: the two logits themselves.")
          : say("The logits of two classes as they are; those of the others are not seen."),
        !view.slice
          ? ""
          : feed.width === 2
            ? say("Along the dashed line the score is θ.")
            : say(
                "Along the dashed line the score is θ where the other logits are halfway between the two centres.",
              ),
      ],
    },
  );
  return picture;
}

/** The score on a grid over the plane, the other logits halfway between the two centres. */
function fieldOf({ feed, state }, picture, across, up) {
  const [columns, rows] = [120, 90];
  const [a, b] = state.pair;
  const { width } = feed;
  const centres = centresIn(feed, state);
  const z = Float64Array.from({ length: width }, (_, k) => (centres[a * width + k] + centres[b * width + k]) / 2);
  const values = new Float64Array(columns * rows);
  const room = roomFor(width);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      z[a] = across.low + ((across.high - across.low) * c) / (columns - 1);
      z[b] = up.low + ((up.high - up.low) * r) / (rows - 1);
      values[r * columns + c] = SCORERS[state.scorer](z, 0, width, centres, state.temperature, room);
    }
  }
  return { values, columns, rows };
}

function strip(view) {
  const { feed, state, palette, say, scale, text } = view;
  const centresAt = centresOf(feed, state, view.fold);
  const near = (logits) => nearestDistances(logits, feed.width, centresAt);
  const all = ascending(near(view.extent));
  const across = scaleOf(all, new Float64Array(0));
  const named = { across: say("distance to the nearest centre"), up: state.name };
  const picture = boxed(view, across, scale, named, {
    place({ logits, score }) {
      const xy = new Float64Array(2 * score.length);
      near(logits).forEach((d, i) => {
        xy[2 * i] = d;
        xy[2 * i + 1] = score[i];
      });
      return picture.onPage(xy);
    },
    over(context, theta, lens) {
      const { box } = picture;
      const y = lens.y(picture.y(theta));
      if (y < box.top || y > box.floor) return;
      context.strokeStyle = palette.text;
      context.lineWidth = 2;
      context.setLineDash([6, 4]);
      context.beginPath();
      context.moveTo(box.left, y);
      context.lineTo(box.right, y);
      context.stroke();
      context.setLineDash([]);
      text(context, `θ ${number(theta)}`, box.right - 8, y - 11, "right", 600);
      if (y - box.top > 40) text(context, say("rejected ↑"), box.left + 10, y - 11, "left");
      if (box.floor - y > 24) text(context, say("accepted ↓"), box.right - 8, y + 13, "right");
    },
    note: [
      say("Exact: across how far an image is from the nearest centre, up its score."),
      say("What lies above θ is rejected."),
    ],
  });
  return picture;
}

function pca(view) {
  const { feed, extent, say } = view;
  const axes = feed.pca_axes;
  const flat = (logits) =>
    projected(
      logits,
      feed.width,
      feed.pca_mean,
      axes.subarray(0, feed.width),
      axes.subarray(feed.width, 2 * feed.width),
    );
  const [across, up] = evenScales(flat(extent), view);
  const share = (n) => percent(feed.header.pca_share?.[n] ?? NaN, 0);
  const named = {
    across: say("first axis, {share} of the spread", { share: share(0) }),
    up: say("second axis, {share}", { share: share(1) }),
    bare: true,
  };
  const picture = boxed(view, across, up, named, {
    place: ({ logits }) => picture.onPage(flat(logits)),
    points: (logits) => picture.onPage(flat(logits)),
    note: [
      say("Exact but partial: the plane in which the logits spread most."),
      say("What lies off this plane is not seen."),
    ],
  });
  return picture;
}

function umap(view) {
  const { feed, state, say } = view;
  const [across, up] = evenScales(feed.umap, view);
  const picture = boxed(
    view,
    across,
    up,
    { across: "", up: "", bare: true },
    {
      place: () => picture.onPage(Float64Array.from(feed.umap)),
      note: [
        say("No verdict: sizes and gaps mean nothing here, and an unknown can be drawn onto a class far from it."),
        say("The score decides, not the place."),
        state.eps ? say("The places are those of the images as they are, without ε.") : "",
      ],
    },
  );
  return picture;
}
