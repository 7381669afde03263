"""What methods have to show of their own: virtual outliers, directions on a sphere, reconstructions."""

import dataclasses

import numpy as np
import pytest

from cac_core.networks.methods.vos import VOS
from cac_core.results import systems


def test_gaussians_are_those_of_vos_over_full_queues(toy_outputs):
    import torch

    train = toy_outputs(known=320, unknown=0)
    made = systems.gaussians(train)
    features = torch.tensor(train.features, dtype=torch.double)
    net = VOS.__new__(VOS)
    torch.nn.Module.__init__(net)
    net.queues = torch.stack([features[torch.tensor(train.labels) == c] for c in range(4)])
    net.length = torch.tensor(80)
    means, covariance = net.gaussian()
    np.testing.assert_allclose(made.means, means, rtol=1e-12)
    np.testing.assert_allclose(made.factor @ made.factor.T, covariance, rtol=1e-9, atol=1e-12)


def test_the_least_likely_of_many_draws_has_the_length_of_drawing_them_all(toy_outputs):
    made = systems.gaussians(toy_outputs(known=320, unknown=0))
    drawn = made.outliers(2000, 50, np.random.default_rng(0))
    assert drawn.shape == (4, 2000, 6)
    e = np.linalg.solve(made.factor, (drawn - made.means[:, None])[0].T).T
    plain = np.random.default_rng(1).normal(size=(2000, 50, 6))
    plain = np.linalg.norm(plain, axis=2).max(1)
    lengths = np.linalg.norm(e, axis=1)
    assert lengths.mean() == pytest.approx(plain.mean(), abs=5 * plain.std() / 2000**0.5)
    assert lengths.std() == pytest.approx(plain.std(), rel=0.15)
    assert np.abs((e / lengths[:, None]).mean(0)).max() < 5 / 6**0.5 / 2000**0.5  # in any direction


def test_distances_are_mahalanobis_to_the_nearest_class(toy_outputs):
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    made = systems.gaussians(train)
    inverse = np.linalg.inv(made.factor @ made.factor.T)
    for x, d in zip(test.features[:20], made.distances(test.features[:20]), strict=True):
        np.testing.assert_allclose(d, [((x - m) @ inverse @ (x - m)) ** 0.5 for m in made.means], rtol=1e-6)


def test_mixtures_lie_on_the_way_from_one_class_to_another(toy_outputs):
    train = toy_outputs(known=320, unknown=0)
    exact = dataclasses.replace(train, features=8 * np.eye(4, 6, dtype=np.float32)[train.labels])
    made = systems.mixtures(exact, 400, np.random.default_rng(0))
    assert 0.6 * 400 < len(made) < 0.9 * 400  # a quarter of the pairs is of one class
    np.testing.assert_allclose(made.sum(1), 8, rtol=1e-6)
    assert ((made > 0).sum(1) == 2).all()


def test_between_is_where_a_second_class_is_nearly_as_near():
    assert systems.between(np.array([[1.0, 9, 1.2], [1, 2, 3], [5, 4, 4.1], [0, 1, 1]])) == 0.5


def test_constant_features_and_copies_without_features(toy_outputs):
    train = toy_outputs(known=40, unknown=0)
    flat = dataclasses.replace(train, features=np.ones_like(train.features))
    made = systems.gaussians(flat)
    assert np.isfinite(made.outliers(2, 5, np.random.default_rng(0))).all()
    with pytest.raises(ValueError, match="kept without features"):
        systems.gaussians(dataclasses.replace(train, features=train.features[:, :0]))


def test_a_simplex_lies_on_the_rim_and_what_is_off_its_plane_in_the_middle():
    turn = 2 * np.pi * np.arange(3) / 3
    plane, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    prototypes = np.column_stack([np.cos(turn), np.sin(turn)]) @ plane[:2]
    np.testing.assert_allclose(systems.angles(prototypes)[~np.eye(3, dtype=bool)], 120)
    assert systems.simplex(3) == pytest.approx(np.cos(np.radians(120)))
    images = np.array([prototypes[1], plane[4], (prototypes[0] + plane[3]) / 2**0.5, -prototypes[2]])
    centres, places = systems.from_above(prototypes, images @ prototypes.T)
    np.testing.assert_allclose(centres, np.column_stack([np.cos(turn), np.sin(turn)]), atol=1e-12)
    mirrored, _ = systems.from_above(prototypes[[0, 2, 1]], images @ prototypes.T)
    np.testing.assert_allclose(mirrored, centres, atol=1e-12)
    np.testing.assert_allclose(places[[0, 3]], [centres[1], -centres[2]], atol=1e-12)
    np.testing.assert_allclose(places[[1, 2]], [[0, 0], centres[0] / 2**0.5], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_no_direction_falls_off_the_sphere(seed):
    rng = np.random.default_rng(seed)
    prototypes, images = rng.normal(size=(3, 5)), rng.normal(size=(50, 5))
    prototypes /= np.linalg.norm(prototypes, axis=1)[:, None]
    images /= np.linalg.norm(images, axis=1)[:, None]
    _, places = systems.from_above(prototypes, images @ prototypes.T)
    assert (np.linalg.norm(places, axis=1) <= 1 + 1e-9).all()
    same = np.tile(prototypes[:1], (3, 1))  # collapsed
    _, places = systems.from_above(same, images @ same.T)
    assert (np.linalg.norm(places, axis=1) <= 1 + 1e-9).all()
