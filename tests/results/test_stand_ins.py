"""What stands in for unknown images: counts at every level, by plain loops; pictures that are always shuffled alike."""

import numpy as np
import pytest

from cac_core.results import stand_ins
from cac_core.scoring import metrics


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return [rng.normal(size=n) for n in (20, 15, 25)], [rng.normal(1, 1, n) for n in (12, 9, 14)]


def test_what_is_caught_is_counted_at_the_theta_of_all_heads_together(scores):
    new, strangers = scores
    kept = stand_ins.counted({"msp": new, "knn": new[:2]}, {"msp": strangers, "knn": strangers[:2]}, [4, 0, 2])
    assert list(kept["left_out"]["caught"]) == ["msp"] and kept["left_out"]["images"] == [12, 9, 14]
    every = sorted(float(x) for part in new for x in part)
    for level, place in ((0.5, 0), (0.95, 7), (1.0, 11)):
        theta = every[min(int(np.ceil(level * 61 - 1e-9)), 60) - 1]
        want = [sum(float(x) > theta for x in some) for some in strangers]
        assert [row[place] for row in kept["left_out"]["caught"]["msp"]] == want
        found = stand_ins.estimate(kept, "msp", level, 5)
        assert found.classes == tuple(zip([4, 0, 2], want, [12, 9, 14], strict=True)) and found.shuffled is None
    pairs = [sum(x > y for x in strangers[1] for y in every) / (9 * 60)]
    assert found.aurocs[1] == pytest.approx(pairs[0])


def test_a_class_without_images_and_heads_without_new_ones_are_passed_over(scores):
    new, strangers = scores
    some = [strangers[0], strangers[1][:0], strangers[2]]
    kept = stand_ins.counted({"msp": [new[0], new[0][:0], new[2]]}, {"msp": some}, [0, 1, 2])
    assert kept["left_out"]["classes"] == [0, 2]
    assert stand_ins.counted({"msp": [new[0][:0]]}, {"msp": strangers[:1]}, [0]) == {}
    assert stand_ins.counted({"msp": []}, {"msp": []}, []) == {}


@pytest.mark.parametrize("n", [1, 5, 10, 19, 40, 500])
def test_the_level_of_the_usual_theta_is_its_own_and_between_two_the_higher_counts(n):
    scores = np.random.default_rng(n).normal(size=n)
    assert stand_ins.level_of(metrics.theta_at(0.95, scores), scores) == 0.95
    assert stand_ins.level_of(scores.max() + 1, scores) is None
    assert stand_ins.level_of(scores.min() - 1, scores) == 0.5
    for share in (0.55, 0.91, 0.96):
        theta = metrics.theta_at(share, scores)
        level = stand_ins.level_of(theta, scores)
        assert metrics.theta_at(level, scores) >= theta


BAD = [
    lambda k: k["left_out"]["classes"].append(1), lambda k: k["left_out"]["images"].pop(),
    lambda k: k["left_out"]["caught"]["msp"][0].pop(), lambda k: k["left_out"]["aurocs"].pop("msp"),
    lambda k: k["left_out"]["classes"].__setitem__(0, 9), lambda k: k["left_out"]["images"].__setitem__(0, 0),
    lambda k: k["left_out"]["caught"]["msp"][0].__setitem__(7, 99), lambda k: k.update(levels=[0.1]),
    lambda k: k["shuffled"].update(images=0),
]  # fmt: skip


@pytest.mark.parametrize("spoil", BAD)
def test_what_somebody_else_has_written_tells_nothing_where_it_is_not_sound(scores, spoil):
    kept = stand_ins.counted({"msp": scores[0]}, {"msp": scores[1]}, [0, 1, 2])
    kept["shuffled"] = {"images": 40, "caught": {"msp": [0] * len(stand_ins.LEVELS)}}
    assert stand_ins.estimate(kept, "msp", 0.95, 3).shuffled == (0, 40)
    spoil(kept)
    found = stand_ins.estimate(kept, "msp", 0.95, 3)
    assert found is None or not found.classes


@pytest.mark.parametrize("size", [(32, 32, 3), (29, 29, 1), (3, 3, 3)])
def test_patches_change_places_and_nothing_else_and_always_alike(size):
    pixels = np.random.default_rng(0).integers(0, 256, (150, *size), np.uint8)
    got = stand_ins.shuffled(pixels)
    np.testing.assert_array_equal(got, stand_ins.shuffled(pixels))
    assert len(got) == stand_ins.MOST and len(stand_ins.shuffled(pixels[:7])) == 7
    side = size[0] // stand_ins.GRID
    cut = side * stand_ins.GRID

    def patches(image):
        return sorted(
            image[y : y + side, x : x + side].tobytes()
            for y in range(0, cut, side or 1)
            for x in range(0, cut, side or 1)
        )

    assert patches(got[0]) == patches(pixels[0]) and (got[0, cut:] == pixels[0, cut:]).all()
    assert (got[0] != pixels[0]).any() == bool(side)
