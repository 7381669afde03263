// The formulas, filled in with the numbers of the point that is spoken of.

const sub = (text) => make("sub", {}, text);
const sup = (text) => make("sup", {}, text);

/** d_A = 1,  d_B = 2, …: a sign for each class. */
const listed = (sign, names, shown) =>
  names.flatMap((name, j) => [j ? ",  " : "", sign, sub(name), ` = ${shown(j)}`]);

function lineOf(words, ...parts) {
  const sum = make("span", { class: "sum" }, ...parts);
  return make("div", { class: "line" }, make("span", { class: "what" }, words), sum);
}

/** What the point that is spoken of is, and what becomes of it, in words. */
function truthOf({ say, course }, { row, truth }) {
  if (row < 0) return say("A place where no point is");
  return truth < 0 ? say("Of a kind never seen") : say("Of class {name}", { name: course.data.names[truth] });
}

function verdictWords({ say, course }, found, { score, nearest }) {
  const accepted = score <= found.theta;
  return accepted ? say("accepted as {name}", { name: course.data.names[nearest] }) : say("rejected: unknown");
}

class Formulas {
  constructor(bench) {
    this.bench = bench;
    this.lines = make("div", { class: "formula" });
    this.node = partOf(bench.say("The formulas, filled in"), this.lines).node;
  }

  draw(found, chosen) {
    const { course, state } = this.bench;
    if (course.empty) this.lines.replaceChildren();
    else if (!chosen) this.lines.replaceChildren(this.hint(), ...this.means(course.terms[found.epoch]));
    else {
      const lines = state.method === "cac" ? this.cac(found, chosen) : this.softmax(found, chosen);
      this.lines.replaceChildren(make("p", { class: "truth" }, truthOf(this.bench, chosen)), ...lines);
    }
  }

  hint() {
    const { say, state } = this.bench;
    const words = state.data === "digits"
      ? say("Click an image: its numbers appear here.")
      : say("Click a point, or any place: its numbers appear here.");
    return make("p", { class: "note" }, words);
  }

  verdictLine(sign, found, chosen) {
    const { score } = chosen;
    const numbers = `${sign} = ${number(score)} ${score <= found.theta ? "≤" : ">"} θ = ${number(found.theta)}`;
    return make("p", { class: "verdict" }, numbers, make("strong", {}, verdictWords(this.bench, found, chosen)));
  }

  /** L = L_T + λ L_A. */
  total(words, tuplet, anchor) {
    const { lambda } = this.bench.state;
    const sum = number(tuplet + lambda * anchor);
    const filled = ` = ${number(tuplet)} + ${number(lambda)} · ${number(anchor)} = ${sum}`;
    return lineOf(words, "L = L", sub("T"), " + λ L", sub("A"), filled);
  }

  cac(found, chosen) {
    const { say, course } = this.bench;
    const { names } = course.data;
    const { d, softmin } = termsAt(chosen.z, 0, WIDTH, found.centres, 0);
    return [
      ...(chosen.truth < 0 ? [] : this.terms(chosen)),
      lineOf(say("distances to the class means"), ...listed("d", names, (j) => number(d[j]))),
      ...names.map((name, j) => {
        const filled = ` = ${number(d[j])} · ${number(1 - softmin[j])} = ${number(d[j] * (1 - softmin[j]))}`;
        return lineOf(j ? "" : "γ = d · (1 − softmin d)", "γ", sub(name), filled);
      }),
      this.verdictLine("γ", found, chosen),
    ];
  }

  /** The loss of one point, term by term. */
  terms({ z, truth }) {
    const { say, state, course } = this.bench;
    const { names } = course.data;
    const { d, tuplet, anchor } = termsAt(z, 0, WIDTH, anchorsOf(WIDTH, state.alpha), truth);
    const others = [0, 1, 2].filter((j) => j !== truth);
    return [
      lineOf(say("distances to the anchors"), ...listed("d", names, (j) => number(d[j]))),
      lineOf(
        say("to be nearer to its own anchor"),
        "L", sub("T"), " = log(1 + ",
        ...others.flatMap((j, n) => [n ? " + " : "", "e", sup(`${number(d[truth])} − ${number(d[j])}`)]),
        `) = ${number(tuplet)}`,
      ),
      lineOf(say("to be near to it"), "L", sub("A"), " = d", sub(names[truth]), ` = ${number(anchor)}`),
      this.total(say("the loss"), tuplet, anchor),
    ];
  }

  softmax(found, chosen) {
    const { say, course } = this.bench;
    const { names } = course.data;
    const { z, truth, score } = chosen;
    const { p, log } = softmaxAt(z, 0, WIDTH);
    return [
      lineOf(say("logits"), ...listed("z", names, (j) => number(z[j]))),
      lineOf(say("softmax"), ...listed("p", names, (j) => percent(p[j]))),
      truth < 0 ? "" : lineOf(say("the loss"), "L = − log p", sub(names[truth]), ` = ${number(-log(truth))}`),
      lineOf(say("the score"), `1 − ${say("largest p")} = ${number(score)}`),
      this.verdictLine(say("score"), found, chosen),
    ];
  }

  /** Means over the training points, where no point is spoken of. */
  means({ tuplet, anchor, total }) {
    const { say, state } = this.bench;
    if (state.method !== "cac") return [lineOf(say("mean loss"), "L = − log p", sub("y"), ` = ${number(total)}`)];
    return [
      lineOf(say("means over the training points"), ""),
      lineOf("", "L", sub("T"), ` = ${number(tuplet)}`),
      lineOf("", "L", sub("A"), ` = ${number(anchor)}`),
      this.total("", tuplet, anchor),
    ];
  }
}
