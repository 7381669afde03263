"""The anchor lab's mathematics, in node, against torch and the core; its state in the address; its digits.

tests/e2e/test_anchors_browser.py plays it in a real browser.
"""

import itertools
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

from app import live, teach
from cac_core.data import sources
from cac_core.networks import losses
from cac_core.scoring import metrics
from cac_core.scoring.distances import class_means
from cac_core.scoring.outputs import Outputs, Verdict
from cac_core.scoring.scorers import judge_of

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is not here to run the lab's scripts")
STATE = {
    "data": "blobs", "classes": [0, 1, 2], "method": "cac", "alpha": 10, "lambda": 0.1, "rate": 0.01, "noise": 0.4,
    "width": 32, "seed": 0, "kept": 0.95, "unknown": "blob", "at": [0, 0], "stranger": 7, "points": "", "drawing": "",
    "epoch": 0,
}  # fmt: skip


def ran(script: str, **given):
    """What a script gives that follows the lab's own and ends in `return ...`; `given` is its input."""
    source = f"{teach.PURE}\nconst given = {json.dumps(given)};\nconsole.log(JSON.stringify((() => {{{script}}})()));"
    done = subprocess.run(["node", "-"], input=source, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def network(sizes: list[int], weights: list[float]) -> torch.nn.Sequential:
    """The same network in torch: layers of these sizes with ReLU between them."""
    layers, at = [], 0
    for inputs, outputs in itertools.pairwise(sizes):
        linear = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(
                torch.tensor(weights[at : at + inputs * outputs], dtype=torch.float64).view(outputs, inputs)
            )
            linear.bias.copy_(
                torch.tensor(weights[at + inputs * outputs : at + (inputs + 1) * outputs], dtype=torch.float64)
            )
        at += (inputs + 1) * outputs
        layers += [linear, torch.nn.ReLU()]
    assert at == len(weights)
    return torch.nn.Sequential(*layers[:-1])


def loss_of(logits, labels, state):
    if state["method"] == "cac":
        anchors = losses.anchors(3, float(state["alpha"])).double()
        return losses.cac(logits, labels, anchors, lam=float(state["lambda"]))
    return losses.cross_entropy(logits, labels)


def flat(net, part) -> np.ndarray:
    """Weights or gradients in the order of the lab."""
    return np.concatenate([part(p).detach().numpy().ravel() for p in net.parameters()])


@pytest.mark.parametrize("lam", [0, 0.1, 3])
@pytest.mark.parametrize("method", ["cac", "softmax"])
def test_losses_and_gradients_are_torchs(method, lam):
    state = STATE | {"method": method, "lambda": lam, "data": "moons", "width": 9, "seed": 3}
    said = ran(
        """
        const course = new Course(given.state, null);
        const rows = course.training.slice(0, 50);
        const x = rowsOf(course.data.x, rows, 2);
        const y = rows.map((i) => course.data.labels[i]);
        const byLogits = new Float64Array(150);
        const logits = course.network.forward(x, 50);
        const terms = LOSSES[given.state.method](logits, y, 50, 3, given.state, byLogits);
        course.network.backward(x, 50, byLogits);
        const list = (values) => Array.from(values);
        return { x: list(x), y, logits: list(logits), terms, weights: list(course.network.weights),
          gradient: list(course.network.gradient) };
        """,
        state=state,
    )
    net = network([2, 9, 9, 3], said["weights"])
    logits = net(torch.tensor(said["x"], dtype=torch.float64).view(-1, 2))
    terms = loss_of(logits, torch.tensor(said["y"]), state)
    terms["total"].backward()
    np.testing.assert_allclose(said["logits"], logits.detach().numpy().ravel(), rtol=1e-12, atol=1e-12)
    assert said["terms"] == pytest.approx({name: float(value) for name, value in terms.items()}, rel=1e-11)
    np.testing.assert_allclose(said["gradient"], flat(net, lambda p: p.grad), rtol=1e-9, atol=1e-12)


def test_a_logit_on_its_anchor_gives_no_gradient_of_its_own():
    said = ran("""
        const z = Float64Array.of(10, 0, 0);
        const by = new Float64Array(3);
        const terms = LOSSES.cac(z, [0], 1, 3, { alpha: 10, lambda: 0.1 }, by);
        return { terms, by: Array.from(by) };
        """)
    z = torch.tensor([[10.0, 0, 0]], dtype=torch.float64, requires_grad=True)
    terms = losses.cac(z, torch.tensor([0]), losses.anchors(3, 10.0).double(), lam=0.1)
    terms["total"].backward()
    assert said["terms"]["tuplet"] == pytest.approx(float(terms["tuplet"]), rel=1e-9)
    np.testing.assert_allclose(said["by"], z.grad[0].numpy(), atol=1e-12)


@pytest.mark.parametrize("method", ["cac", "softmax"])
def test_epochs_are_torchs_sgd(method):
    state = STATE | {"method": method, "data": "spirals", "width": 7, "seed": 5, "rate": 0.02}
    said = ran(
        """
        const course = new Course(given.state, null);
        const first = Array.from(course.network.weights);
        const random = new Random(0); // another one: the course's own must not be drawn from here
        const orders = [];
        const shuffled = course.random.shuffled.bind(course.random);
        course.random.shuffled = (rows) => {
          const order = shuffled(rows);
          orders.push(Array.from(order));
          return order;
        };
        for (let epoch = 0; epoch < 3; epoch++) {
          course.train();
          course.at(0, 0.9); // looking back must not change what comes
        }
        return { first, orders, last: Array.from(course.exact), terms: course.terms, x: Array.from(course.data.x),
          labels: Array.from(course.data.labels) };
        """,
        state=state,
    )
    net = network([2, 7, 7, 3], said["first"])
    sgd = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    x, y = torch.tensor(said["x"], dtype=torch.float64).view(-1, 2), torch.tensor(said["labels"])
    for epoch, order in enumerate(said["orders"]):
        sums = {}
        for rows in torch.tensor(order).split(32):
            terms = loss_of(net(x[rows]), y[rows], state)
            sgd.zero_grad()
            terms["total"].backward()
            sgd.step()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.item() * len(rows) / len(order)
        assert said["terms"][epoch + 1] == pytest.approx(sums, rel=1e-8)
    np.testing.assert_allclose(said["last"], flat(net, lambda p: p), rtol=1e-7, atol=1e-9)


def test_what_is_said_after_an_epoch_is_what_the_core_says():
    said = ran(
        """
        const course = new Course(given.state, null);
        for (let epoch = 0; epoch < 6; epoch++) course.train();
        const found = course.at(6, 0.9);
        const list = (values) => Array.from(values);
        return { ...found, logits: list(found.logits), centres: list(found.centres), score: list(found.score),
          label: list(found.label), labels: list(course.data.labels), held: list(course.data.held), known: null,
          unknown: null };
        """,
        state=STATE | {"unknown": "noise", "data": "moons"},
    )
    logits, labels = np.array(said["logits"]).reshape(-1, 3), np.array(said["labels"])
    held = np.array(said["held"], bool)
    anchors = 10 * np.eye(3)

    def part(which) -> Outputs:
        count = int(which.sum())
        return Outputs(
            logits[which], np.zeros((count, 1)), labels[which], labels[which], np.arange(count),
            np.zeros(count, bool), anchors,
        )  # fmt: skip

    train, test = part((labels >= 0) & ~held), part(held)
    np.testing.assert_allclose(np.array(said["centres"]).reshape(3, 3), class_means(train), rtol=1e-9)
    verdict = judge_of("gamma", train)(part(np.ones(len(labels), bool)))
    np.testing.assert_allclose(said["score"], verdict.score, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(said["label"], verdict.label)
    mine = Verdict(verdict.score[held], verdict.label[held])
    theta = metrics.theta_at(0.9, mine.score[test.labels >= 0])
    assert said["theta"] == pytest.approx(theta, rel=1e-9)
    report = metrics.report(mine, test.labels)
    assert said["auroc"] == pytest.approx(report["auroc"], abs=1e-12)
    assert said["accuracy"] == pytest.approx(report["accuracy"], abs=1e-12)
    assert said["caught"] == pytest.approx(float((mine.score[test.labels < 0] > theta).mean()), abs=1e-12)


def test_training_does_what_the_lessons_say():
    """Anchors pull classes together; lambda = 0 leaves them wider; softmax is surest far away, CAC is not."""
    said = ran(
        """
        const after = (changes) => {
          const course = new Course({ ...given.state, ...changes }, null);
          for (let epoch = 0; epoch < 40; epoch++) course.train();
          const { accuracy, spread, auroc, caught } = course.at(40, 0.95);
          return { accuracy, spread, auroc, caught, anchor: course.terms[40].anchor };
        };
        return { cac: after({}), free: after({ lambda: 0 }), tight: after({ lambda: 1 }),
          ring: after({ unknown: "ring" }), softmax: after({ unknown: "ring", method: "softmax" }) };
        """,
        state=STATE,
    )
    assert said["cac"]["accuracy"] > 0.98 and said["cac"]["caught"] > 0.9 and said["cac"]["anchor"] < 3
    assert said["tight"]["spread"] < said["cac"]["spread"] < said["free"]["spread"]
    assert said["softmax"]["auroc"] < 0.5 < 0.75 < said["ring"]["auroc"]


def test_a_seed_gives_the_same_course_again_and_another_seed_another():
    script = """
        const course = new Course(given.state, given.digits);
        course.train();
        return Array.from(course.exact.slice(0, 20));
        """
    for state in (STATE, STATE | {"data": "digits", "unknown": "digit", "classes": [3, 5, 8]}):
        first = ran(script, state=state, digits=teach.digits())
        assert ran(script, state=state | {"unknown": "noise"}, digits=teach.digits()) == first
        assert ran(script, state=state | {"seed": 1}, digits=teach.digits()) != first


def test_the_digits_are_scikit_learns():
    images, classes = sources.counted_digits()
    said = ran(
        """
        const data = dataOf(given.state, given.digits);
        return { x: Array.from(data.x), pixels: Array.from(data.pixels), labels: Array.from(data.labels),
          held: Array.from(data.held) };
        """,
        state=STATE | {"data": "digits", "classes": [3, 5, 8], "unknown": "digit", "stranger": 0, "noise": 0},
        digits=teach.digits(),
    )
    pixels, labels = np.array(said["pixels"]), np.array(said["labels"])
    np.testing.assert_array_equal(np.array(said["x"]).reshape(-1, 8, 8), images[pixels] / 16)
    np.testing.assert_array_equal(classes[pixels], np.array([3, 5, 8, 0])[labels])
    assert len(pixels) == np.isin(classes, [0, 3, 5, 8]).sum() == len(set(pixels))
    held = np.array(said["held"], bool)
    assert 0.2 < held[labels >= 0].mean() < 0.3 and held[labels < 0].all()


# --- the address -----------------------------------------------------------------------------------------------------


def test_an_address_gives_back_the_state_that_it_was_made_of():
    state = STATE | {
        "data": "drawn", "method": "softmax", "alpha": 7.5, "lambda": 0, "seed": 12, "at": [-1.5, 2],
        "unknown": "drawing", "points": "gAgAAAAggBBwxwC", "epoch": 33, "kept": 0.9, "classes": [9, 4, 1],
    }  # fmt: skip
    said = ran(
        """
        const old = "http://localhost/anchors?run=mine&noise=1&keep=0.5";
        const href = addressOf(old, given.state, STATE, ["alpha", "seed"]);
        const search = new URL(href).search;
        return { href, back: settled({ ...STATE, ...stateFrom(search) }), hide: hiddenIn(search) };
        """,
        state=state,
    )
    assert said["back"] == state
    assert said["hide"] == ["alpha", "seed"] and "run=mine" in said["href"] and "noise" not in said["href"]


@pytest.mark.parametrize(
    "search",
    [
        "data=cats", "classes=1,1,2", "classes=1,2", "alpha=0", "alpha=x", "lambda=-1", "width=2.5", "seed=1e9",
        "at=9,9", "at=1", "keep=0", "epochs=-3", "epochs=1e6", "drawing=<script>", "stranger=10",
        "method=odin", "unknown=cat",
    ],
)  # fmt: skip
def test_what_makes_no_sense_in_an_address_is_passed_over(search):
    assert ran("return stateFrom(given.search);", search=search) == {}


def test_drawn_points_go_into_the_address_and_back():
    said = ran("""
        const points = [{ x: -4, y: 4, c: 0 }, { x: 1.234, y: -2.5, c: 2 }, { x: 9, y: 0, c: 3 }];
        const text = pointsToText(points);
        return { back: pointsFromText(text), bad: pointsFromText("??" + text),
          long: pointsFromText(text.repeat(900)).length };
        """)
    assert [(p["x"], p["y"], p["c"]) for p in said["back"]] == [
        pytest.approx(p, abs=1e-3) for p in [(-4, 4, 0), (1.234, -2.5, 2), (4, 0, 3)]
    ]
    assert all(-4 <= p["x"] <= 4 and 0 <= p["c"] <= 3 for p in said["bad"]) and said["long"] == 1000


def test_a_state_that_cannot_be_becomes_one_that_can():
    said = ran("""
        return [settled({ ...STATE, data: "digits", unknown: "ring", classes: [7, 8, 9], stranger: 8 }),
          settled({ ...STATE, unknown: "digit" })];
        """)
    assert said[0]["unknown"] == "digit" and said[0]["stranger"] == 0 and said[1]["unknown"] == "blob"


def test_steps_that_are_too_long_and_an_empty_class_are_told():
    said = ran(
        """
        const trained = (changes) => {
          const course = new Course({ ...given.state, ...changes }, null);
          for (let epoch = 0; epoch < 20; epoch++) course.train();
          return [course.empty, course.stuck(course.at(20, 0.95))];
        };
        const empty = new Course({ ...given.state, data: "drawn", points: pointsToText([{ x: 0, y: 0, c: 0 }]) }, null);
        return [trained({ rate: 10 }), trained({}), empty.empty];
        """,
        state=STATE,
    )
    assert said == [[False, True], [False, False], True]


def test_the_lab_uses_only_what_it_brings():
    """Names that only other views' scripts define would fail in the page alone."""
    assert set(live.SCRIPTS) >= {"arithmetic", "theme"}
    done = subprocess.run(
        ["node", "--check", "--input-type=module"], input=teach.SCRIPT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1000:]
