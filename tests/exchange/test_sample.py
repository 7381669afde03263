"""The sample project is made on demand, the same each time, and can be trained on at once."""

from cac_core.data import datasets
from cac_core.exchange import own_data, sample


def test_the_sample_is_made_once_with_its_trial(tmp_path):
    assert sample.make(tmp_path) == sample.NAME == sample.make(tmp_path)
    row = datasets.row_of(sample.NAME, tmp_path)
    kept = own_data.trials(tmp_path, sample.NAME, row)[sample.NAME]
    assert row.classes == tuple("0123456789") and kept.known == sample.KNOWN and kept.unknown == (6, 7, 8, 9)
    counts = datasets.counts(sample.NAME, tmp_path)
    assert len(counts) == 10 and all(0.7 * sample.EACH <= count <= 0.9 * sample.EACH for count in counts.values())
    sample.make(tmp_path / "other")
    one, two = (datasets.digest(datasets.load(sample.NAME, root)) for root in (tmp_path, tmp_path / "other"))
    assert one == two
