"""Firings in windows of the samples' own order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from actprune.auditing.firing import site_spikes, spikes
from actprune.data.batch import Batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.sites.find import survey


def test_the_statistics_by_hand() -> None:
    # windows of two: unit 0 fires 2, 0, 1 times; unit 1 always; the seventh sample is left over
    fires = np.array([[1, 1], [1, 1], [0, 1], [0, 1], [1, 1], [0, 1], [1, 0]], dtype=bool)
    found = site_spikes("a", fires, 2, "as written")
    assert (found.windows, found.length) == (3, 2)
    assert found.mean_rate == pytest.approx((0.5 + 1) / 2)
    assert found.mean_fano == pytest.approx((1 / 1 + 0 / 2) / 2)  # variance 1, mean 1
    assert found.relative == pytest.approx(1 / 0.5)  # of unit 0, the only one to test


def test_blocks_of_classes_disperse_and_batches_do_not_matter() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 2)).eval()
    centres = 2 * torch.randn(10, 4)
    blocked = (centres[:, None] + 0.5 * torch.randn(10, 40, 4)).reshape(400, 4)
    mixed = blocked[torch.randperm(400)]
    found = {}
    for order, x in (("by class", blocked), ("shuffled", mixed)):
        for size in (128, 33):
            batches = list(Arrays.of(x).batches(size))
            sites = survey(model, batches[0]).sites
            (found[order, size],) = spikes(model, batches, sites, data_order=order)
        assert found[order, 128] == found[order, 33]
    one, other = found["by class", 128], found["shuffled", 128]
    assert (one.windows, one.length) == (20, 20)
    assert one.mean_rate == pytest.approx(other.mean_rate)
    assert one.relative is not None
    assert other.relative is not None
    assert one.relative > 3 > 1.5 > other.relative
    assert (one.overdispersed or 0) > 0.5 > (other.overdispersed or 0)


def test_packed_text_and_too_few_samples_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 2)).eval()
    batches = list(Arrays.of(torch.randn(9, 4)).batches())
    sites = survey(model, batches[0]).sites
    with pytest.raises(ActpruneError, match="9 samples do not fill two windows of 5"):
        spikes(model, batches, sites, data_order="x", window=5)
    text = Batch(
        args=batches[0].args, kwargs={}, labels=None, ids=batches[0].ids,
        documents=torch.zeros(9, 4).long(),
    )  # fmt: skip
    with pytest.raises(ActpruneError, match="mix documents"):
        spikes(model, [text], sites, data_order="x")
