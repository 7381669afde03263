"""Pictures of what one method alone has: reconstructions, virtual outliers, directions on a sphere, made images.

Each is offered for runs of that method that hold what it is made of. N images, C known classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import charts, controls, courses, made, thumbnails, wording
from app.charts import CROSS, CUT, EXACT, SHAPES, STAR, Palette
from app.names import short
from app.words import phrases, t
from cac_core.recipe import method_options
from cac_core.results import systems
from cac_core.runs import Run
from cac_core.scoring import metrics

TILE = 64  # pixels of an image
VIRTUAL = 120  # outliers that are drawn, of all classes
MIXED = 2000  # pairs of training images of which mixtures are made
DRAWN = 400  # images of each class, at most
OUT = 1.08  # times as far from the middle of the sphere images of classes never seen are drawn, to cover none
NAMED = 12  # classes up to which their angles are written out
BINS = 30
CHEVRON = "M5,0L10,10L5,7L0,10Z"
FAR = 1.5  # times as far as 99.5 % of values reach is too far to be drawn


def show(run: Run) -> None:
    """The picture of the run's method, where it has one."""
    method = run.recipe.method
    if method == "crosr" and (kept := run.rebuilt()):
        rebuilt(run, kept)
    elif method in ("supcon", "cider") and run.outputs("train").prototypes is not None:
        sphere(run)
    elif method == "vos" and option(run, "weight") and run.outputs("train").features.shape[1]:
        virtual(run)
    else:
        made.gallery(run)


def option(run: Run, name: str) -> Any:
    return (method_options(run.recipe.method) | run.recipe.hyper)[name]


# --- crosr -----------------------------------------------------------------------------------------------------------


def rebuilt(run: Run, kept: dict[str, np.ndarray]) -> None:
    test, error = run.outputs("test"), kept["error"].astype(float)
    if len(error) != len(test) or not len(kept["rows"]):
        return
    known = test.labels >= 0
    st.subheader(t("Image, reconstruction, error"), anchor=False)
    said = t(
        "From its latents the network rebuilds the image. Top: the image; middle: what was made of it; bottom: the "
        "error, brighter where it is larger, on one scale for all. The number is the mean squared error, over the "
        "variance of the training pixels. From the best rebuilt to the worst, evenly."
    )
    if known.any() and (~known).any():
        said += " " + t(
            "By this error alone the AUROC would be {auroc}; OpenMax reads the latents, not the error.",
            auroc=charts.percent(metrics.Curve(error[known], error[~known]).auroc()),
        )
    st.caption(said)
    gaps = np.abs(kept["images"].astype(int) - kept["made"].astype(int)).mean(3)
    top = max(float(np.quantile(gaps, 0.999)), 1.0)  # or one bad pixel would make all others black
    for side, title in ((True, t("Known classes")), (False, t("Classes never seen"))):
        some = [n for n, row in enumerate(kept["rows"]) if known[row] == side]
        if not some:
            continue
        st.markdown(f"**{title}**")
        with st.container(horizontal=True, gap="small"):
            for n in some:
                row = kept["rows"][n]
                name, said = run.class_names[test.classes[row]], charts.number(error[row])
                wrong = np.repeat((255 * np.minimum(gaps[n] / top, 1)).round().astype(np.uint8)[..., None], 3, 2)
                with st.container(width=TILE, horizontal_alignment="center", gap="xsmall"):
                    st.image(
                        thumbnails.inline(stacked(kept["images"][n], kept["made"][n], wrong)), width=TILE,
                        alt=t("An image of {name}, its reconstruction and the error, {error}", name=name, error=said),
                    )  # fmt: skip
                    st.caption(f"**{wording.plain(name)}** {said}")
    if known.any() and (~known).any():
        parts = {t("known"): error[known], t("never seen"): error[~known]}
        st.echarts_chart(
            histograms(parts, t("error of the reconstruction"), controls.palette()), key="rebuilt_errors", height=300,
            alt=t("How large the error is, of known images and of those of classes never seen: {numbers}.",
                  numbers=medians(parts)),
        )  # fmt: skip


def stacked(*images: np.ndarray) -> Image.Image:
    """Images [H, W, K] one below the other, enlarged."""
    tiles, gap = [thumbnails.enlarged(image, TILE).convert("RGB") for image in images], 3
    side = tiles[0].width
    sheet = Image.new("RGBA", (side, len(tiles) * (side + gap) - gap), (0, 0, 0, 0))
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (0, n * (side + gap)))
    return sheet


def medians(parts: dict[str, np.ndarray]) -> str:
    return ", ".join(t("{name}: median {value}", name=name, value=charts.number(float(np.median(values))))
                     for name, values in parts.items())  # fmt: skip


def histograms(parts: dict[str, np.ndarray], name: str, palette: Palette) -> dict[str, Any]:
    """Shares of each part in the same bins; known solid, never seen dashed, a third dotted, a fourth dashed and dotted.

    What lies far beyond nearly all others is left out, and said."""
    every = np.concatenate(list(parts.values()))
    low, high, cut = float(every.min()), float(every.max()), float(np.quantile(every, 0.995))
    if high - low > FAR * (cut - low) > 0:
        high, name = cut, f"{name}\n{t('{n} of {all} lie beyond', n=int((every > cut).sum()), all=len(every))}"
    edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
    looks = ((palette.known[0], "solid"), (palette.unknown, "dashed"), (palette.text, "dotted"),
             (palette.known[3], [9, 3, 2, 3]))  # fmt: skip
    series = []
    for (title, values), (colour, kind) in zip(parts.items(), looks, strict=False):
        shares = 100 * np.histogram(values, edges)[0] / max(len(values), 1)
        series.append({
            "type": "line", "name": title, "step": "end", "symbol": "none",
            "lineStyle": {"color": colour, "width": 2, "type": kind}, "itemStyle": {"color": colour},
            "areaStyle": {"color": colour, "opacity": 0.12},
            "data": np.column_stack([edges, [*shares, shares[-1]]]).round(5).tolist(),
        })  # fmt: skip
    return {
        "animation": False,
        "tooltip": {"trigger": "axis", "confine": True},
        "legend": charts.below(34),
        "grid": {"left": 52, "right": 16, "top": 12, "bottom": 48 + 14 * name.count("\n") + charts.ROW * len(series),
                 **EXACT},
        "xAxis": {"type": "value", "min": float(edges[0]), "max": float(edges[-1]), "name": name,
                  "nameLocation": "middle", "nameGap": 24, "nameTextStyle": {"lineHeight": 14},
                  "splitLine": {"show": False},
                  "axisLabel": {"hideOverlap": True, "showMinLabel": False, "showMaxLabel": False}},
        "yAxis": {"type": "value", "axisLabel": {"formatter": "{value}\u00a0%"}, "splitNumber": 3,
                  "splitLine": {"lineStyle": {"color": palette.faint}}},
        "series": series,
    }  # fmt: skip


# --- vos -------------------------------------------------------------------------------------------------------------


def virtual(run: Run) -> None:
    shown, _, _ = outliers_of(run)
    width, draws = run.outputs("train").features.shape[1], option(run, "draws")
    st.subheader(t("Virtual outliers"), anchor=False)
    st.caption(
        t(
            "Drawn anew for this picture, as in training: a Gaussian for each class, its means and the shared "
            "covariance here from the stored features of all training images, where training has its last ones; of "
            "{draws} draws the least likely. The plane holds {share} of the spread of {width} features, so that "
            "outliers look nearer than they are; the distances are those in all {width}.",
            draws=draws, width=width, share=charts.percent(shown),
        )
    )  # fmt: skip
    left, right = st.columns(2)
    clusters(run, left, ("unknown", "virtual"))
    far(run, right, ("known", "unknown", "virtual"))


MADE_UP = phrases(
    {"known": "known", "unknown": "never seen", "virtual": "virtual outlier", "mixed": "mixture of two classes"}
)


def clusters(run: Run, place, shown: tuple[str, ...], height: int = 440) -> None:
    """Features by PCA: the training images, and beside them what is shown, of MADE_UP."""
    _, xy, _ = outliers_of(run)
    place.echarts_chart(
        around(xy, shown, run.known_names, controls.palette()), key="virtual", height=height,
        alt=t("Features in two dimensions by PCA: the clusters of {classes} classes, and beside them: {shown}.",
              classes=len(run.known_names), shown=wording.listed([t(MADE_UP[name]) for name in shown])),
    )  # fmt: skip


def far(run: Run, place, shown: tuple[str, ...], height: int = 440) -> None:
    """How far they lie from the nearest class."""
    _, _, distances = outliers_of(run)
    parts = {t(MADE_UP[name]): distances[name].min(1) for name in shown if len(distances[name])}
    place.echarts_chart(
        histograms(parts, t("Mahalanobis distance to the nearest class"), controls.palette()),
        key="virtual_distances", height=height,
        alt=t("How far from the nearest class mean they lie: {numbers}.", numbers=medians(parts)),
    )  # fmt: skip


def outliers_of(run: Run) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """How much of the spread the plane holds, places in it, and distances [N, C] to the classes in all dimensions."""
    return _virtual(str(run.path), run.written, option(run, "draws"))


@st.cache_data(max_entries=4, show_spinner=False)
def _virtual(path: str, written: str, draws: int) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
    run = Run(Path(path))
    train, test = run.outputs("train"), run.outputs("test")
    made, view, count = systems.gaussians(train), systems.flat(train), train.logits.shape[1]
    drawn = made.outliers(max(1, VIRTUAL // count), draws, np.random.default_rng(0))
    drawn = drawn.reshape(-1, drawn.shape[2])
    rng, places = np.random.default_rng(0), []
    mixed = systems.mixtures(train, MIXED, rng)
    for c in range(count):
        mine = np.flatnonzero((train.labels == c) & ~train.mirrored)
        places.append(np.sort(rng.permutation(mine)[: max(1, DRAWN // count * 2)]))
    rows, known = np.concatenate(places), test.labels >= 0
    xy = {"train": view(train.features[rows]), "labels": train.labels[rows], "means": view(made.means),
          "unknown": view(test.features[~known][:DRAWN]), "virtual": view(drawn),
          "mixed": view(mixed[:VIRTUAL])}  # fmt: skip
    distances = {"known": made.distances(test.features[known]), "unknown": made.distances(test.features[~known]),
                 "virtual": made.distances(drawn), "mixed": made.distances(mixed)}  # fmt: skip
    return float(view.shares.sum()), xy, distances


def around(xy: dict[str, np.ndarray], shown: tuple[str, ...], names: list[str], palette: Palette) -> dict[str, Any]:
    """Clusters of the training images; what was never seen as crosses, outliers as stars, mixtures as arrows."""
    series = [
        {"type": "scatter", "name": name, "symbol": SHAPES[c % len(SHAPES)], "symbolSize": 5,
         "itemStyle": {"color": palette.of(c), "opacity": 0.55},
         "data": xy["train"][xy["labels"] == c].round(3).tolist()}
        for c, name in enumerate(names)
    ]  # fmt: skip
    looks = {
        "unknown": (f"path://{CROSS}", 7, {"color": palette.unknown, "opacity": 0.8}),
        "virtual": (f"path://{STAR}", 11, {"color": palette.text, "borderColor": palette.surface, "borderWidth": 1}),
        "mixed": (f"path://{CHEVRON}", 8, {"color": "transparent", "borderColor": palette.text, "borderWidth": 1.5}),
    }
    for name in shown:
        symbol, size, look = looks[name]
        series.append({"type": "scatter", "name": t(MADE_UP[name]), "symbol": symbol, "symbolSize": size,
                       "itemStyle": look, "data": xy[name].round(3).tolist()})  # fmt: skip
    return _plane(series, xy["means"], names, palette) | {
        "legend": {"bottom": 0, "itemHeight": 10, "itemWidth": 14, "data": [t(MADE_UP[name]) for name in shown]},
        "xAxis": {"type": "value", "scale": True, "show": False},
        "yAxis": {"type": "value", "scale": True, "show": False},
    }


def _plane(series: list[dict], places: np.ndarray, names: list[str], palette: Palette) -> dict[str, Any]:
    """Without scales, and the classes named at places [C, 2]."""
    words = [
        {"value": place.round(4).tolist(),
         "label": {"show": True, "formatter": name, "color": palette.text,
                   "fontWeight": "bold", "fontSize": 14, "backgroundColor": palette.surface, "padding": [3, 6],
                   "borderRadius": 8, "borderColor": palette.text, "borderWidth": 1}}
        for place, name in zip(places, short(names, CUT), strict=True)
    ]  # fmt: skip
    return {
        "animation": False,
        "tooltip": {"trigger": "item", "formatter": "{a}", "confine": True},
        "grid": {"left": 8, "right": 8, "top": 12, "bottom": 36, **EXACT},
        "series": [*series, {"type": "scatter", "symbolSize": 1, "silent": True, "data": words,
                             "itemStyle": {"color": "transparent"}, "z": 9}],
    }  # fmt: skip


# --- supcon and cider ------------------------------------------------------------------------------------------------


def sphere(run: Run) -> None:
    train, names, palette = run.outputs("train"), run.known_names, controls.palette()
    gaps, best = systems.angles(train.prototypes.astype(float)), systems.simplex(len(names))
    pairs = [(a, b) for a in range(len(names)) for b in range(a)]
    near = min(pairs, key=lambda pair: gaps[pair])
    ideal = float(np.degrees(np.arccos(best)))
    st.subheader(t("Directions on the sphere"), anchor=False)
    said = t(
        "Each class has a prototype, a direction; training turns images towards their own. {count} directions can be "
        "{ideal:.0f}° from each other at most, a simplex: a cosine of −1/{less}. Here the closest two, {one} and "
        "{other}, are {angle:.0f}° apart.",
        count=len(names), ideal=ideal, less=len(names) - 1, one=wording.plain(names[near[1]]),
        other=wording.plain(names[near[0]]), angle=gaps[near],
    )  # fmt: skip
    if run.recipe.method == "supcon":
        said += " " + t(
            "SupCon's loss knows no prototypes, and looks at projections of the features: these are the mean "
            "directions of the features themselves."
        )
    st.caption(said)
    left, right = st.columns(2)
    course(run, left)
    with right:
        if len(names) == 3:
            above(run, palette)
        elif len(names) <= NAMED:
            st.echarts_chart(
                angle_map(gaps, ideal, names, palette), key="angles", height=380,
                alt=t("The angle between each two prototypes in degrees: from {low:.0f} to {high:.0f}, of {ideal:.0f} "
                      "that a simplex has.", low=min(gaps[p] for p in pairs), high=max(gaps[p] for p in pairs),
                      ideal=ideal),
            )  # fmt: skip
            st.caption(t("Angles between prototypes, in degrees: the stronger the colour, the closer two classes are."))


COSINES = phrases(
    {
        "own": "images to their own prototype (compactness)",
        "closest": "closest two prototypes",
        "between": "all pairs of prototypes (dispersion)",
    }
)


def course(run: Run, place, shown: tuple[str, ...] = tuple(COSINES)) -> None:
    """How compact the classes became and how far apart, epoch by epoch, where its events tell it."""
    told = [e for e in run.epochs() if COSINES.keys() <= e.get("beside", {}).keys()]
    if not told:
        return
    best, palette = systems.simplex(len(run.known_names)), controls.palette()
    epochs = tuple(e["epoch"] for e in told)
    values = {t(COSINES[name]): (tuple(e["beside"][name] for e in told), n, False) for n, name in enumerate(shown)}
    apart = "closest" in shown
    if apart:
        values[t("simplex, −1/(C − 1)")] = ((best,) * len(told), 7, True)
    option = courses.curves(epochs, values, palette, told[-1].get("epochs", epochs[-1]))
    if apart:
        option["series"][-1] |= {
            "symbol": "none",
            "itemStyle": {"color": palette.text},
            "lineStyle": {"color": palette.text, "width": 2, "type": "dashed"},
        }
    option["yAxis"] |= {"name": t("mean cosine"), "nameLocation": "middle", "nameGap": 36, "scale": False, "min": -1,
                        "max": 1}  # fmt: skip
    last = told[-1]["beside"]
    if apart:
        alt = t(
            "Mean cosines by epoch: images to their own prototype end at {own:.2f}, pairs of prototypes at "
            "{between:.2f}, the closest two at {closest:.2f}; a simplex has {best:.2f}.",
            own=last["own"], between=last["between"], closest=last["closest"], best=best,
        )  # fmt: skip
    else:
        alt = t("Mean cosine by epoch: images to their own prototype end at {own:.2f}.", own=last["own"])
    place.echarts_chart(option, key="sphere_course", height=440, alt=alt)
    place.caption(
        t("Validation images after each epoch: at 1 directions are the same, at 0 they are at a right angle.")
    )


def angle_map(gaps: np.ndarray, ideal: float, names: list[str], palette: Palette) -> dict[str, Any]:
    """Degrees [C, C] in cells."""
    cells = []
    for row in range(len(names)):
        for column in range(row):
            near = float(np.clip(1 - gaps[row, column] / max(ideal, 1e-9), 0, 1))
            cells.append({
                "value": [column, row - 1, round(float(gaps[row, column]))],
                "itemStyle": {"color": charts.mixed(palette.surface, palette.known[0], 0.1 + 0.6 * near),
                              "borderColor": palette.surface, "borderWidth": 2},
                "label": {"show": True, "formatter": f"{gaps[row, column]:.0f}°", "color": palette.text},
            })  # fmt: skip
    turn = 45 if max(map(len, names)) > 4 else 0
    called = short(names, 10)
    axis = {"type": "category", "axisTick": {"show": False}, "axisLine": {"show": False}}
    return {
        "animation": False,
        "tooltip": {"show": False},
        "grid": {"left": 76, "right": 8, "top": 8, "bottom": 40, **EXACT},
        "xAxis": axis | {"data": called[:-1], "axisLabel": {"interval": 0, "rotate": turn}},
        "yAxis": axis | {"data": called[1:], "inverse": True, "axisLabel": {"interval": 0}},
        "series": [{"type": "heatmap", "data": cells}],
    }  # fmt: skip


def above(run: Run, palette: Palette) -> None:
    """Three classes: the sphere, seen from above the plane of their prototypes."""
    names, test = run.known_names, run.outputs("test")
    prototypes = run.outputs("train").prototypes
    centres, xy = systems.from_above(prototypes, test.logits.astype(float) * option(run, "temperature"))

    def drawn(places: np.ndarray, name: str, symbol: str, size: int, **look: Any) -> dict[str, Any]:
        return {"type": "scatter", "coordinateSystem": "polar", "name": name, "symbol": symbol, "symbolSize": size,
                "itemStyle": look, "data": charts.polar(places, 1.2)}  # fmt: skip

    series = [
        {"type": "line", "coordinateSystem": "polar", "symbol": "none", "silent": True,
         "data": [[ring, angle] for angle in range(0, 361, 3)],
         "lineStyle": {"color": palette.faint, "width": 2 if ring == 1 else 1,
                       "type": "solid" if ring == 1 else "dashed"}}
        for ring in (1, 0.75, 0.5, 0.25)
    ]  # fmt: skip
    series.append(drawn(OUT * xy[test.labels < 0][:DRAWN], t("never seen"), f"path://{CROSS}", 7,
                        color=palette.unknown, opacity=0.7))  # fmt: skip
    for c in range(3):
        series.append(drawn(xy[test.labels == c][:DRAWN], names[c], SHAPES[c], 8, color=palette.of(c), opacity=0.6))
    series.append(drawn(centres, t("prototype"), f"path://{STAR}", 20, color=palette.text,
                        borderColor=palette.surface, borderWidth=1.5))  # fmt: skip
    hidden = {"axisLabel": {"show": False}, "axisTick": {"show": False}, "axisLine": {"show": False},
              "splitLine": {"show": False}}  # fmt: skip
    option_ = {
        "animation": False,
        "tooltip": {"trigger": "item", "formatter": "{a}", "confine": True},
        "legend": {"bottom": 0, "itemHeight": 11, "itemWidth": 14, "data": [*names, t("never seen"), t("prototype")]},
        "polar": {"center": ["50%", "45%"], "radius": "76%"},
        "angleAxis": {"type": "value", "min": 0, "max": 360, "startAngle": 90, "clockwise": True, **hidden},
        "radiusAxis": {"min": 0, "max": 1.2, **hidden},
        "series": series,
    }
    height = [float(np.sqrt(np.maximum(1 - (xy[mine] ** 2).sum(1), 0)).mean()) if mine.any() else 0.0
              for mine in (test.labels >= 0, test.labels < 0)]  # fmt: skip
    st.echarts_chart(
        option_, key="sphere_above", height=440,
        alt=t("The sphere from above: three prototypes near its rim, known images close to them, images of classes "
              "never seen; the mean height above the plane is {known:.2f} for known ones and {unknown:.2f} for others.",
              known=height[0], unknown=height[1]),
    )  # fmt: skip
    st.caption(
        t("The sphere of three classes, seen from above: prototypes on the rim, and in the middle what points away "
          "from all three. The farther from the middle, the more of a direction lies in the prototypes' plane; images "
          "of classes never seen are drawn a step farther out, so that they cover none.")
    )  # fmt: skip
