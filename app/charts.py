"""Chart builders: arrays in, an Apache ECharts option out; nothing here calls Streamlit.

ECharts because a chart with a key keeps its place while theta moves, where Plotly would start anew. N images, C known
classes. The looks are fixed: a class is a colour and a shape, filled where accepted and hollow where rejected; UNKNOWN
is vermilion and a cross, ringed where it was accepted; an ANCHOR is a star in the colour of the text; theta is dashed.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import numpy as np

from app.names import short
from app.words import phrases, t

DRAWN = 3000  # points on the wheel; more would only lie on top of one another
CROSS = "M0,2L2,0L5,3L8,0L10,2L7,5L10,8L8,10L5,7L2,10L0,8L3,5Z"
RING = "M5,-4A9,9,0,1,1,4.99,-4ZM5,-2A7,7,0,1,0,5.01,-2Z"
STAR = "M5,0L6.5,3.4L10,3.8L7.3,6.3L8.1,10L5,8.1L1.9,10L2.7,6.3L0,3.8L3.5,3.4Z"
EXACT = {"containLabel": False, "outerBoundsMode": "none"}  # margins are as said
SHAPES = ("circle", "triangle", "rect", "diamond")
CUT = 18  # letters of a class name beside a chart
ROW = 18  # pixels of a line of a legend below


@dataclass(frozen=True)
class Palette:
    """Colours of one theme: the known classes in turn, unknown, text, and what stays in the background."""

    known: tuple[str, ...]
    unknown: str
    text: str
    faint: str
    surface: str
    strong: str

    def of(self, label: int) -> str:
        return self.known[label % len(self.known)]


LIGHT = Palette(
    ("#0072B2", "#B97700", "#00875F", "#B8558F", "#2B93CC", "#7A6C00", "#6A51A3", "#5B6770"),
    "#D55E00", "#1B2430", "#D5DBE3", "#FFFFFF", "#0B63A5",
)  # fmt: skip
DARK = Palette(
    ("#4DA3E0", "#E69F00", "#2CC295", "#E08BBF", "#9AD4F5", "#F0E442", "#B39DE3", "#AAB4BD"),
    "#FF7B42", "#E8EDF3", "#38424F", "#10151C", "#5FB0EA",
)  # fmt: skip


# --- numbers in words ------------------------------------------------------------------------------------------------


# live/arithmetic.js has the same, to the letter


NUDGE = 1e-12  # relative: what a float may lack of the half that it stands for


def fixed(x: float, digits: int) -> str:
    """So many decimals; halves go away from zero, as a reader and a browser round, and nothing is -0.0."""
    x = float(x) * (1 + NUDGE)  # 5043 of 6000 are 84.05 %, which as a float lies a little below
    said = Decimal(x).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{said if said else abs(said):f}"


def share(x: float, digits: int = 1) -> str:
    """A share in percent, without the sign: below 1 it never reads 100, and above 0 never 0."""
    if math.isnan(x):
        return "–"
    said, unit = fixed(x * 100, digits), 10.0**-digits
    if x < 1 and said == fixed(100, digits):
        return f"≥{fixed(100 - unit, digits)}"
    return f"≤{fixed(unit, digits)}" if x > 0 and said == fixed(0, digits) else said


def percent(x: float, digits: int = 1) -> str:
    return "–" if math.isnan(x) else f"{share(x, digits)}\u00a0%"


def between(interval: tuple[float, float], digits: int = 1) -> str:
    low, high = interval
    return "–" if math.isnan(low) else f"{share(low, digits)}–{share(high, digits)}\u00a0%"


def points(x: float, digits: int = 1) -> str:
    """A difference of percentages with its sign; what rounds to nothing has none."""
    said = fixed(x, digits)
    return said if x <= 0 or not float(said) else f"+{said}"


def number(x: float, digits: int = 3) -> str:
    """Three significant digits, all of a whole part, and an exponent only where one cannot do without."""
    if not math.isfinite(x):
        return "–" if math.isnan(x) else "∞" if x > 0 else "-∞"
    said = Context(prec=digits, rounding=ROUND_HALF_UP).create_decimal(Decimal(float(x)))
    size = said.adjusted()
    if not said:
        return "0"
    return fixed(x, max(digits - 1 - size, 0)) if -5 <= size <= 6 else f"{said.scaleb(-size):.{digits - 1}f}e{size:+03}"


def apart(*values: float) -> list[str]:
    """Numbers that are compared: each as `number` says it, all with more digits where two that differ read alike."""
    said = [number(x) for x in values]
    for digits in range(4, 11):  # `fixed` is exact to 12
        if len(set(said)) == len(set(values)):
            break
        said = [number(x, digits) for x in values]
    return said


# --- the legend ------------------------------------------------------------------------------------------------------


def below(wide: int) -> dict[str, Any]:
    """A legend below a chart, a line for each name, ROW high: however long they are and wherever they would break, it
    takes as much room. wide: pixels of a mark."""
    return {"orient": "vertical", "left": 44, "bottom": 0, "padding": 2, "itemGap": 4, "itemHeight": 8,
            "itemWidth": wide, "textStyle": {"lineHeight": ROW - 4}}  # fmt: skip


def height(option: dict[str, Any], plot: int) -> int:
    """Of such a chart, where the plot itself is so high."""
    return option["grid"]["top"] + plot + option["grid"]["bottom"]


# --- the scale of a score --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Where scores lie: from low to high, on a logarithmic axis where most of them crowd together near zero."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, *scores: np.ndarray) -> "Scale":
        pooled = np.concatenate(scores)
        high = float(pooled.max())
        positive = pooled[pooled > 0]
        if pooled.min() >= 0 and len(positive) and high > 30 * np.median(scores[0]):
            low = max(float(np.quantile(positive, 0.002)), high * 1e-6)
            return cls(_rounded(low, math.floor), _rounded(high, math.ceil), True)
        low = float(pooled.min())
        edge = 0.02 * (high - low) or 1.0
        return cls(low - edge, high + edge, False)

    def steps(self, count: int) -> np.ndarray:
        """So many values from low to high, evenly spread on the axis."""
        return np.geomspace(self.low, self.high, count) if self.log else np.linspace(self.low, self.high, count)

    def choices(self, knowns: np.ndarray | None = None, count: int = 181) -> list[float]:
        """What a slider offers: the steps, rounded to what a person would say.

        knowns: scores; where more than half of them lie in one bin of 48, their quantiles too, closer towards the
        highest, among which theta lies: each step leaves the same part of those above that were above before.
        """
        digits = 3 if self.log else 4
        steps = [float(f"{x:.{digits}g}") for x in self.steps(count)]
        if (
            knowns is not None
            and len(knowns)
            and 2 * np.histogram(self.clip(knowns), self.steps(49))[0].max() > len(knowns)
        ):
            shares = 1 - len(knowns) ** -np.linspace(0, 1, count // 2)
            steps = [*(float(f"{x:.{digits}g}") for x in np.quantile(knowns, shares)), *steps]
        return sorted({*steps[:-1], self.high})

    def left(self, score: float) -> bool:
        """Whether a score lies in the left half of the axis."""
        return bool(self.clip(np.array(score)) < self.steps(3)[1])

    def clip(self, scores: np.ndarray) -> np.ndarray:
        return np.clip(scores, self.low, self.high)

    def axis(self, name: str) -> dict[str, Any]:
        axis = {"name": name, "nameLocation": "middle", "nameGap": 28, "min": self.low, "max": self.high}
        if self.log:
            return axis | {"type": "log", "splitLine": {"show": False}, "axisLabel": {"hideOverlap": True}}
        return axis | {
            "type": "value",
            "splitLine": {"show": False},
            "axisLabel": {"showMinLabel": False, "showMaxLabel": False},
        }


def _rounded(x: float, way) -> float:
    unit = 10 ** (math.floor(math.log10(x)) - 1)
    return float(f"{way(x / unit) * unit:.6g}")


# --- the wheel -------------------------------------------------------------------------------------------------------


def on_wheel(logits: np.ndarray, centre: np.ndarray, reach: float) -> np.ndarray:
    """Star coordinates [N, 2] of logits [N, C]: p = sum over i of (z - centre)_i / reach * (cos, sin)(2 pi i / C).

    What is the same in all logits cancels out; but for two classes, which would all lie on a line: there the other axis
    is their sum, and the picture the plane of both logits.
    """
    if logits.shape[1] == 2:
        return (logits - centre) @ np.array([[1.0, 1.0], [-1.0, 1.0]]) / reach
    turn = 2 * np.pi * np.arange(logits.shape[1]) / logits.shape[1]
    return (logits - centre) @ np.stack([np.cos(turn), np.sin(turn)], 1) / reach


def wheel_frame(means: np.ndarray, anchors: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Centre [C] and reach of the wheel: the origin and alpha, so that the anchors alpha e_i lie on the unit circle.

    For two classes the centre is the middle between the anchors. Without anchors, the middle of the class means and
    what they reach towards their own class on average.
    """
    if anchors is not None:
        return anchors.mean(0) if len(means) == 2 else np.zeros(len(means)), float(anchors[0, 0])
    centre = means.mean(0)
    own, others = np.diag(means - centre), (means - centre).sum(1) - np.diag(means - centre)
    return centre, float(max((own - others / (len(means) - 1)).mean(), 1e-6))


@dataclass(frozen=True)
class Cloud:
    """What the wheel shows: places xy [N, 2], labels [N] (-1 unknown), rejected [N], and what to say of each image."""

    xy: np.ndarray
    labels: np.ndarray
    rejected: np.ndarray
    said: list[str]

    def drawn(self) -> np.ndarray:
        """Which images are drawn: all, or an even sample of DRAWN of them."""
        if len(self.labels) <= DRAWN:
            return np.arange(len(self.labels))
        return np.sort(np.random.default_rng(0).choice(len(self.labels), DRAWN, replace=False))


def wheel(cloud: Cloud, names: list[str], means: np.ndarray, anchors: bool, palette: Palette) -> dict[str, Any]:
    """The wheel: known classes around the rim, each of which pulls its own way."""
    rim = max(1.15, float(np.quantile(np.hypot(*cloud.xy.T), 0.995)) * 1.05 if len(cloud.xy) else 1.15)
    drawn = cloud.drawn()
    labels, rejected = cloud.labels[drawn], cloud.rejected[drawn]
    places, said = polar(cloud.xy[drawn], rim), [cloud.said[i] for i in drawn]
    count = len(names)
    size = 9 if len(drawn) < 800 else 6

    def points(which: np.ndarray) -> list[dict[str, Any]]:
        return [{"value": places[i], "name": said[i]} for i in np.flatnonzero(which)]

    def series(
        name: str, which: np.ndarray, symbol: str, colour: str, hollow: bool = False, **more: Any
    ) -> dict[str, Any]:
        look = {"opacity": 0.85, "borderColor": colour, **more.pop("itemStyle", {})}
        look |= {"color": "transparent", "borderWidth": 2} if hollow else {"color": colour, "borderWidth": 0}
        return {
            "type": "scatter", "coordinateSystem": "polar", "name": name, "symbol": symbol, "symbolSize": size,
            "itemStyle": look, "data": points(which), **more,
        }  # fmt: skip

    every = []
    for c, name in enumerate(short(names, CUT)):
        shape, mine = SHAPES[c // len(palette.known) % len(SHAPES)], labels == c
        legend = f"{name} ({(cloud.labels == c).sum()})"
        every.append(series(legend, mine & ~rejected, shape, palette.of(c), z=3))
        every.append(series(legend, mine & rejected, shape, palette.of(c), hollow=True, z=3))
    legend = [s["name"] for s in every[::2]]
    unknown = labels < 0
    if (cloud.labels < 0).any():
        crossed = f"path://{CROSS}"
        every.append(series(t(REJECTED), unknown & rejected, crossed, palette.unknown, z=2, itemStyle={"opacity": 0.7}))
        every.append(series(t(ACCEPTED), unknown & ~rejected, f"{crossed}{RING}", palette.unknown, z=4,
                            symbolSize=size + 6, itemStyle={"opacity": 1}))  # fmt: skip
    centre = {
        "type": "scatter", "coordinateSystem": "polar", "name": t(MEANS), "symbol": "circle", "symbolSize": 18,
        "itemStyle": {"color": "transparent", "borderColor": palette.text, "borderWidth": 2}, "z": 5,
        "data": [{"value": place, "name": t("mean of {name}", name=name)}
                 for place, name in zip(polar(means, rim), names, strict=True)],
    }  # fmt: skip
    turn = 360 / count
    unit = {
        "type": "line", "coordinateSystem": "polar", "symbol": "none", "silent": True, "z": 1,
        "lineStyle": {"color": palette.faint, "width": 2}, "data": [[1, angle] for angle in range(0, 361, 3)],
    }  # fmt: skip
    marks = {
        "type": "scatter", "coordinateSystem": "polar", "name": t(ANCHORS), "z": 6, "silent": False,
        "symbol": f"path://{STAR}" if anchors else "none", "symbolSize": 18,
        "itemStyle": {"color": palette.text, "borderColor": palette.surface, "borderWidth": 1.5},
        "data": [{"value": [1, turn * c], "name": t("anchor of {name}", name=n)} for c, n in enumerate(names)],
    }  # fmt: skip
    labels_outside = {
        "type": "scatter", "coordinateSystem": "polar", "symbol": "circle", "symbolSize": 1, "silent": True, "z": 7,
        "itemStyle": {"color": "transparent"}, "tooltip": {"show": False},
        "data": [
            {"value": [rim, turn * c], "name": n,
             "label": {"show": True, "formatter": "{b}", "position": _outward(turn * c, count), "distance": 6,
                       "fontSize": 15 if count <= 12 else 12, "fontWeight": "bold", "color": palette.text,
                       "width": 96, "overflow": "truncate"}}
            for c, n in enumerate(names)
        ],
    }  # fmt: skip
    legend += [s["name"] for s in every[2 * count :]]
    return {
        "animation": False,
        "tooltip": {"trigger": "item", "formatter": "{b}", "confine": True},
        "legend": {"type": "plain" if count <= 10 else "scroll", "bottom": 0, "itemHeight": 11, "itemWidth": 14,
                   "data": [*legend, t(MEANS), *([t(ANCHORS)] if anchors else [])]},
        "polar": {"center": ["50%", "45%"], "radius": "72%"},
        "angleAxis": {"type": "value", "min": 0, "max": 360, "interval": turn, "startAngle": 90, "clockwise": True,
                      "axisLabel": {"show": False}, "axisTick": {"show": False}, "axisLine": {"show": False},
                      "splitLine": {"show": True, "lineStyle": {"color": palette.faint}}},
        "radiusAxis": {"min": 0, "max": rim, "axisLabel": {"show": False}, "axisLine": {"show": False},
                       "axisTick": {"show": False}, "splitLine": {"show": False}},
        "series": [unit, *every, centre, marks, labels_outside],
    }  # fmt: skip


REJECTED, ACCEPTED = phrases(("never seen, rejected", "never seen, yet accepted"))
MEANS, ANCHORS = phrases(("class mean", "anchor"))


def place_on_wheel(
    xy: np.ndarray, labels: np.ndarray, here: np.ndarray, names: list[str], palette: Palette
) -> dict[str, Any]:
    """The wheel in small: places [N, 2] faint, and one image, here [2], as a large mark."""
    keep = np.arange(0, len(xy), max(1, len(xy) // 800))
    turn = 2 * np.pi * np.arange(len(names)) / len(names)
    reach = max(1.5, float(np.abs(here).max()) * 1.1)
    axis = {"show": False, "min": -reach, "max": reach}

    def flipped(places: np.ndarray) -> list[list[float]]:  # 0 is the top and angles go clockwise
        return places[:, ::-1].round(3).tolist()

    shown = [
        {"type": "scatter", "symbolSize": 4, "silent": True, "itemStyle": {"color": palette.of(c), "opacity": 0.45},
         "data": flipped(xy[keep][labels[keep] == c])}
        for c in range(len(names))
    ]  # fmt: skip
    shown.append(
        {
            "type": "scatter",
            "symbol": f"path://{CROSS}",
            "symbolSize": 5,
            "silent": True,
            "itemStyle": {"color": palette.unknown, "opacity": 0.45},
            "data": flipped(xy[keep][labels[keep] < 0]),
        }
    )
    rim = [
        {
            "value": [round(float(np.sin(a)) * 1.4, 3), round(float(np.cos(a)) * 1.4, 3)],
            "label": {"show": True, "formatter": name, "color": palette.text, "fontSize": 11},
        }
        for a, name in zip(turn, short(names, CUT), strict=True)
    ]
    shown.append(
        {"type": "scatter", "symbolSize": 1, "silent": True, "itemStyle": {"color": "transparent"}, "data": rim}
    )
    shown.append(
        {
            "type": "scatter",
            "symbol": f"path://{STAR}",
            "symbolSize": 24,
            "z": 9,
            "itemStyle": {"color": palette.text, "borderColor": palette.surface, "borderWidth": 2},
            "data": flipped(here[None]),
        }
    )
    return {"animation": False, "grid": {"left": 8, "right": 8, "top": 8, "bottom": 8}, "xAxis": axis, "yAxis": axis,
            "series": shown}  # fmt: skip


def place_on_scale(
    score: np.ndarray, labels: np.ndarray, here: float, theta: float, scale: Scale, palette: Palette
) -> dict[str, Any]:
    """Histograms of the knowns and the unknowns in one frame, theta dashed, and one image's score as a solid line."""
    edges = scale.steps(33)

    def steps(name: str, which: np.ndarray, colour: str) -> dict[str, Any]:
        counts = np.histogram(scale.clip(score[which]), edges)[0]
        return {"type": "line", "name": name, "step": "end", "symbol": "none", "silent": True,
                "lineStyle": {"color": colour, "width": 1}, "itemStyle": {"color": colour},
                "areaStyle": {"color": colour, "opacity": 0.3},
                "data": [[float(x), int(n)] for x, n in zip(edges, [*counts, counts[-1]], strict=True)]}  # fmt: skip

    shown = [steps(t("known"), labels >= 0, palette.known[0]), steps(t("never seen"), labels < 0, palette.unknown)]
    shown[0]["markLine"] = theta_line(theta, scale, palette)
    shown[1]["markLine"] = {
        "symbol": "none", "silent": True, "animation": False,
        "lineStyle": {"color": palette.text, "type": "solid", "width": 3},
        "label": {"show": True, "formatter": t("this image"), "color": palette.text,
                  "position": "insideEndBottom" if scale.left(here) else "insideEndTop"},  # away from the edge
        "data": [{"xAxis": float(scale.clip(np.array(here)))}],
    }  # fmt: skip
    return {
        "animation": False,
        "legend": {"bottom": 0, "icon": "rect", "itemHeight": 10},
        "grid": {"left": 56, "right": 12, "top": 24, "bottom": 56, **EXACT},
        "xAxis": scale.axis("") | {"nameGap": 0},
        "yAxis": {"type": "value", "minInterval": 1, "splitNumber": 3},
        "series": shown,
    }


def mixed(one: str, other: str, share: float) -> str:
    """A colour between two of the form #RRGGBB."""
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pairs)


def two_curves(
    curve: dict[str, np.ndarray], plain: dict[str, np.ndarray], palette: Palette, names: tuple[str, str]
) -> dict[str, Any]:
    """A ROC curve over another, which is dashed."""

    def line(one: dict[str, np.ndarray], name: str, colour: str, kind: str) -> dict[str, Any]:
        some = np.unique(np.linspace(0, len(one["thetas"]) - 1, 400).astype(int))
        points = np.column_stack([one["rejected_knowns"][some], one["caught_unknowns"][some]]).round(4).tolist()
        return {"type": "line", "name": name, "symbol": "none", "data": points, "itemStyle": {"color": colour},
                "lineStyle": {"color": colour, "type": kind, "width": 2}}  # fmt: skip

    axis = {
        "type": "value",
        "min": 0,
        "max": 1,
        "nameLocation": "middle",
        "splitLine": {"lineStyle": {"color": palette.faint}},
    }
    return {
        "animation": False,
        "legend": {"top": 0},
        "grid": {"left": 56, "right": 16, "top": 36, "bottom": 48, **EXACT},
        "xAxis": {**axis, "name": t("knowns rejected"), "nameGap": 28},
        "yAxis": {**axis, "name": t("unknowns caught"), "nameGap": 38},
        "series": [line(curve, names[0], palette.known[0], "solid"), line(plain, names[1], palette.text, "dashed")],
    }


def polar(xy: np.ndarray, rim: float) -> list[list[float]]:
    """Places [N, 2] as a radius, at most rim, and degrees; the first axis points up, and angles go clockwise."""
    radius, angle = np.minimum(np.hypot(xy[:, 0], xy[:, 1]), rim), np.degrees(np.arctan2(xy[:, 1], xy[:, 0])) % 360
    return [[round(float(r), 3), round(float(a), 2)] for r, a in zip(radius, angle, strict=True)]


def _outward(angle: float, count: int) -> str:
    """On which side of its place a label of the rim lies; 0 is the top and angles go clockwise.

    Of few, above or below: half of it is beside the rim then, and fits into a narrow chart. Of many they would meet.
    """
    if count <= 12 or angle % 180 == 0:
        return "bottom" if 90 < angle % 360 < 270 else "top"
    return "right" if angle % 360 < 180 else "left"


def scatter(xy: np.ndarray, labels: np.ndarray, names: list[str], palette: Palette) -> dict[str, Any]:
    """A small cloud without scales: places [N, 2], a colour a class, crosses for unknown; every DRAWN-th at most."""
    keep = np.arange(0, len(xy), max(1, len(xy) // DRAWN))
    xy, labels = xy[keep], labels[keep]
    kinds = [(name, labels == c, SHAPES[c // len(palette.known) % len(SHAPES)], palette.of(c))
             for c, name in enumerate(names)]  # fmt: skip
    kinds.append((t("unknown"), labels < 0, f"path://{CROSS}", palette.unknown))
    return {
        "animation": False,
        "tooltip": {"trigger": "item", "formatter": "{a}"},
        "grid": {"left": 4, "right": 4, "top": 4, "bottom": 4},
        "xAxis": {"show": False, "scale": True},
        "yAxis": {"show": False, "scale": True},
        "series": [
            {"type": "scatter", "name": name, "symbol": symbol, "symbolSize": 4, "itemStyle": {"color": colour},
             "data": xy[mine].round(3).tolist()}
            for name, mine, symbol, colour in kinds
        ],
    }  # fmt: skip


# --- theta -----------------------------------------------------------------------------------------------------------


def theta_line(theta: float, scale: Scale, palette: Palette, label: bool = True) -> dict[str, Any]:
    """Its label above it goes towards the middle, away from what stands beside the axis."""
    said = {"show": label, "formatter": f"θ = {number(theta)}", "position": "end",
            "align": "left" if scale.left(theta) else "right"}  # fmt: skip
    return _line_at(float(scale.clip(np.array(theta))), said, palette)


def _line_at(x: float, label: dict[str, Any], palette: Palette) -> dict[str, Any]:
    """A dashed line across, with a label."""
    return {
        "symbol": "none", "silent": True, "animation": False,
        "precision": 20,  # ECharts draws at the second decimal otherwise: at 0, which a logarithmic axis has not
        "lineStyle": {"color": palette.text, "type": "dashed", "width": 2},
        "label": {"color": palette.text, "fontWeight": "bold", **label},
        "data": [{"xAxis": x}],
    }  # fmt: skip


def histogram(
    score: np.ndarray, labels: np.ndarray, right: np.ndarray, theta: float, scale: Scale, palette: Palette, name: str
) -> dict[str, Any]:
    """Scores of the knowns above, of the unknowns below, as steps over the same axis, and theta through both."""
    edges, score = scale.steps(49), scale.clip(score)
    unknowns = bool((labels < 0).any())

    def steps(title: str, which: np.ndarray, colour: str, grid: int, **more: Any) -> dict[str, Any]:
        counts = np.histogram(score[which], edges)[0]
        return {
            "type": "line", "name": title, "step": "end", "symbol": "none", "xAxisIndex": grid, "yAxisIndex": grid,
            "lineStyle": {"width": 1, "color": colour}, "itemStyle": {"color": colour},
            "areaStyle": {"color": colour, "opacity": 0.75},
            "data": [[float(x), int(n)] for x, n in zip(edges, [*counts, counts[-1]], strict=True)], **more,
        }  # fmt: skip

    known = labels >= 0
    every = [steps(t(RIGHT), known & right, palette.known[0], 0, stack="known")]
    if (known & ~right).any():
        every.append(steps(t(WRONG), known & ~right, palette.known[3], 0, stack="known"))
    every[0]["markLine"] = theta_line(theta, scale, palette)
    side = {"left": 72, "right": 20, **EXACT}
    grids = [side | {"top": 24, "height": HALF if unknowns else 2 * HALF}]
    axes = [
        scale.axis(name) | ({"axisLabel": {"show": False}, "name": "", "axisTick": {"show": False}} if unknowns else {})
    ]
    heights = [{"type": "value", "name": t("known images"), "nameLocation": "middle", "nameGap": 48, "minInterval": 1,
                "splitNumber": 3}]  # fmt: skip
    if unknowns:
        every.append(steps(t(NEVER), ~known, palette.unknown, 1, markLine=theta_line(theta, scale, palette, False)))
        grids.append(side | {"top": 24 + HALF, "height": HALF})
        axes.append(scale.axis(name) | {"gridIndex": 1, "position": "bottom", "axisLine": {"onZero": False}})
        heights.append(heights[0] | {"name": t("unknown images"), "inverse": True, "gridIndex": 1})
    return {
        "animation": False,
        "tooltip": {"trigger": "axis", "confine": True},
        "legend": below(20) | {"icon": "rect", "data": [s["name"] for s in every]},
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "grid": grids, "xAxis": axes, "yAxis": heights, "series": every,
    }  # fmt: skip


HALF = 116  # pixels of the plot of one side
HISTOGRAM = 24 + 2 * HALF + 50 + 3 * ROW + 4  # of all of it
RIGHT, WRONG, NEVER = phrases(("known, nearest class right", "known, nearest class wrong", "never seen"))


def bars(
    values: dict[str, float], chosen: str, limit: tuple[float, str] | None, palette: Palette, name: str, *,
    log: bool = False, falling: bool = False, unknown: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One bar a class, the nearest first: the smallest or, where falling, the largest. limit: the number that decides,
    as a line, and what it is called. unknown: that of the class of what is unknown, which always has its bar."""
    called = dict(zip(values, short(list(values), CUT), strict=True))
    nearest = sorted(values.items(), key=lambda item: item[1], reverse=falling)[:10]
    look = {chosen: (palette.strong, 1)}
    every = [(called[n], n, v, *look.get(n, (palette.known[-1], 0.55))) for n, v in nearest]
    if unknown is not None:
        every.append((t(OF_UNKNOWN), t(OF_UNKNOWN), unknown, palette.unknown, 1))
        every.sort(key=lambda one: one[2], reverse=falling)
    beside = max(70, 16 + 7 * max(len(one[0]) for one in every))
    axis = {"name": name, "nameLocation": "middle", "nameGap": 26, "splitLine": {"show": False}, "type": "value"}
    floor = -math.inf
    if log:
        least = min([one[2] for one in every] + ([limit[0]] if limit else []))
        floor = 10.0 ** math.floor(math.log10(max(least, max(values.values()) * 1e-6, 1e-12)))
        axis |= {"type": "log", "min": floor, "startValue": floor, "axisLabel": {"hideOverlap": True}}
    series: list[dict[str, Any]] = [
        {"type": "bar", "barMaxWidth": 18, "markLine": None,
         "data": [
            {"value": max(v, floor), "name": f"{n}: {number(v)}", "itemStyle": {"color": colour, "opacity": opacity},
             "label": {"show": True, "position": "right", "formatter": number(v), "color": palette.text}}
            for _, n, v, colour, opacity in every
         ]}
    ]  # fmt: skip
    if limit is not None:
        place, label = max(limit[0], floor), {"formatter": limit[1], "position": "start"}  # above the first class
        series[0]["markLine"] = _line_at(place, label, palette)
        series.append({"type": "scatter", "silent": True, "symbolSize": 0, "data": [[place, 0]]})  # the axis reaches it
    return {
        "animation": False,
        "tooltip": {"trigger": "item", "confine": True, "formatter": "{b}"},
        "grid": {"top": 24, "bottom": 44, "left": beside, "right": 64, **EXACT},
        "xAxis": axis,
        "yAxis": {"type": "category", "inverse": True, "data": [one[0] for one in every], "axisTick": {"show": False}},
        "series": series,
    }  # fmt: skip


OF_UNKNOWN = phrases("unknown")
