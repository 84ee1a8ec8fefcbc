from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from profile_checks import assert_same_counts
from torch import Tensor, nn

from actprune.data.source import Arrays, Loader, fingerprint
from actprune.data.split import BLOCKS, block_of, heldout
from actprune.errors import ActpruneError
from actprune.profiling.collect import profile
from actprune.profiling.result import FOLDS, NEVER, SOURCE_BITS, Profile


def tiny() -> nn.Module:
    """Three units: x0, -x0 and a dead one."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    model[0].weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    model[0].bias.data = torch.tensor([0.0, 0.0, -1.0])
    return model


def test_a_profile_by_hand() -> None:
    x = torch.tensor([[3.0, 1.0], [-2.0, 1.0], [0.0, 1.0], [5.0, 1.0]])

    p = profile(tiny(), x, rule="positive", gram=True)

    assert p.samples == 4
    (site,) = p.sites
    assert site.samples.sum() == site.positions.sum() == 4
    assert site.samples_active.sum(0).tolist() == [2, 1, 0]
    assert site.positions_active.sum(0).tolist() == [2, 1, 0]
    assert site.total.sum(0).tolist() == [8.0, 2.0, 0.0]
    assert site.square.sum(0).tolist() == [34.0, 4.0, 0.0]
    low, high = site.extremes
    assert low.tolist() == [0.0, 0.0, 0.0]
    assert high.tolist() == [5.0, 2.0, 0.0]
    assert site.first is not None
    mark = int(fingerprint(next(Arrays.of(x).batches()))[:5], 16) << SOURCE_BITS
    assert site.first.tolist() == [mark, mark + 1, NEVER]
    assert site.gram is not None
    assert site.gram.sum(0).tolist() == [[34.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]
    assert site.rate.tolist() == [0.5, 0.25, 0.0]
    assert site.mean.tolist() == [2.0, 0.5, 0.0]
    assert site.variance.tolist() == [34 / 4 - 4.0, 1 - 0.25, 0.0]
    assert site.constant.tolist() == [False, False, True]


def test_samples_are_counted_in_their_blocks(
    profiled: Callable[..., Profile], mlp: nn.Module, vectors: Tensor
) -> None:
    for seed in (0, 7):
        p = profiled(0, 150, seed=seed)
        blocks = block_of(torch.arange(150), seed)
        hidden = torch.relu(mlp[0](vectors)).double()  # pyright: ignore[reportIndexIssue]
        site = p.site("0")
        assert site.samples.tolist() == torch.bincount(blocks, minlength=BLOCKS).tolist()
        for b in range(BLOCKS):
            own = hidden[blocks == b]
            assert site.samples_active[b].tolist() == (own > 0).sum(0).tolist()
            assert site.total[b].tolist() == own.sum(0).tolist()
            assert site.square[b].tolist() == own.square().sum(0).tolist()


def test_convolution_channels_count_pixels_and_samples(cnn: nn.Module, images: Tensor) -> None:
    p = profile(cnn, images, rule="positive", gram=True)
    first = torch.relu(cnn[0](images)).flatten(2).double()  # pyright: ignore[reportIndexIssue]
    second = torch.relu(cnn[2](cnn[1](cnn[0](images)))).flatten(2).double()  # pyright: ignore

    for site, a_SUP in ((p.site("0"), first), (p.site("2"), second)):
        assert site.positions.sum() == 150 * a_SUP.shape[2]
        assert site.positions_active.sum(0).tolist() == (a_SUP > 0).sum((0, 2)).tolist()
        assert site.samples_active.sum(0).tolist() == (a_SUP > 0).any(2).sum(0).tolist()
        assert site.total.sum(0).tolist() == a_SUP.sum((0, 2)).tolist()
        rows = a_SUP.transpose(1, 2).reshape(-1, a_SUP.shape[1])
        assert site.gram is not None
        assert site.gram.sum(0).tolist() == (rows.T @ rows).tolist()
    assert p.site("2").site.consumer.repeat == 4  # flattened: pixels are positions


def test_tokens_are_positions() -> None:
    x = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]]])  # one sample of three tokens
    site = profile(tiny(), x, rule="positive").site("0")
    assert site.positions.sum() == 3
    assert site.samples.sum() == 1
    assert site.positions_active.sum(0).tolist() == [2, 1, 0]
    assert site.samples_active.sum(0).tolist() == [1, 1, 0]


def test_gram_folds_are_the_parts_of_the_samples(
    profiled: Callable[..., Profile], mlp: nn.Module, vectors: Tensor
) -> None:
    site = profiled(0, 150, gram=True).site("0")
    hidden = torch.relu(mlp[0](vectors)).double()  # pyright: ignore[reportIndexIssue]
    blocks = block_of(torch.arange(150), 0)
    assert site.gram is not None
    for fold, part in enumerate(FOLDS):
        own = hidden[[int(b) in part.value for b in blocks]]
        assert site.gram[fold].tolist() == (own.T @ own).tolist()
    assert site.gram.sum(0).tolist() == (hidden.T @ hidden).tolist()
    assert profiled(0, 150).site("0").gram is None


@pytest.mark.parametrize("rule", ["positive", "magnitude:0.5", "auto"])
@pytest.mark.parametrize("leave_out", [False, True])
def test_counts_do_not_depend_on_the_batch_size_or_the_container(
    mlp: nn.Module, vectors: Tensor, rule: str, leave_out: bool
) -> None:
    options: dict[str, Any] = {"rule": rule, "leave_out": leave_out, "gram": True}
    whole = profile(mlp, vectors, batch_size=150, **options)
    for size in (1, 7, 64):
        assert_same_counts(profile(mlp, Arrays.of(vectors), batch_size=size, **options), whole)
    loader = Loader(iterable=[vectors[:3], vectors[3:100], vectors[100:]])
    assert_same_counts(profile(mlp, loader, **options), whole)
    labelled = [(x, torch.zeros(len(x))) for x in vectors.split(40)]
    assert_same_counts(profile(mlp, labelled, **options), whole)
    assert_same_counts(profile(mlp, iter(vectors.split(11)), **options), whole)  # read once


def test_counts_of_images_do_not_depend_on_the_batch_size(cnn: nn.Module, images: Tensor) -> None:
    whole = profile(cnn, images, batch_size=150, gram=True)
    for size in (1, 7, 64):
        assert_same_counts(profile(cnn, images, batch_size=size, gram=True), whole)


def test_the_held_out_third_is_never_counted(mlp: nn.Module, vectors: Tensor) -> None:
    p = profile(mlp, vectors, leave_out=True, rule="positive", seed=3, gram=True)

    kept = ~heldout(torch.arange(150), 3)
    assert p.samples == kept.sum()
    assert p.identity.heldout
    assert (p.shards[0].start, p.shards[0].stop) == (0, 150)
    poisoned = torch.where(kept[:, None], vectors, 1e6)  # what is left out may be anything
    if heldout(torch.arange(1), 3):
        poisoned[0] = vectors[0]  # but the first sample names the data
    assert_same_counts(
        profile(mlp, poisoned, leave_out=True, rule="positive", seed=3, gram=True), p
    )


def test_only_the_first_samples_are_read(mlp: nn.Module, vectors: Tensor) -> None:
    expected = profile(mlp, vectors[:40], rule="positive")
    for data in (vectors, [vectors[:25], vectors[25:]]):
        got = profile(mlp, data, samples=40, rule="positive")
        assert_same_counts(got, expected)
        assert got.shards[0].stop == 40
    assert profile(mlp, vectors, samples=1000, rule="positive").samples == 150


def test_a_profile_says_what_it_is_of(mlp: nn.Module, vectors: Tensor) -> None:
    p = profile(mlp, Arrays.of(vectors, spec="npz:x"), spec="zoo:net", seed=4)
    assert (p.identity.model, p.identity.data, p.identity.seed) == ("zoo:net", "npz:x", 4)
    assert p.identity.statistics == ("counts", "moments")
    assert profile(mlp, vectors, gram=True).identity.statistics == ("counts", "moments", "gram")
    assert profile(mlp, vectors).identity.model == "Sequential"
    assert str(p) == "150 samples, 2 sites, 11 units"
    with pytest.raises(KeyError):
        p.site("absent")


def test_progress_counts_every_sample_read(mlp: nn.Module, vectors: Tensor) -> None:
    for leave_out in (False, True):
        seen: list[int] = []
        profile(mlp, vectors, batch_size=1, leave_out=leave_out, progress=seen.append)
        assert sum(seen) == 150


class Noisy(nn.Module):
    """Random numbers, a buffer written in evaluation mode, and parts in both modes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, 6)
        self.out = nn.Linear(6, 2)
        self.out.bias.requires_grad_(False)
        self.register_buffer("runs", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.runs = self.runs + 1
        torch.rand(3)
        return self.out(torch.relu(self.fc(self.norm(x))))


def snapshot(model: nn.Module) -> list[Any]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        [(n, id(t), t.dtype, t.detach().numpy().tobytes()) for n, t in tensors],
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [p.grad for p in model.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        ["forward" in vars(m) for m in model.modules()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_profiling_leaves_the_model_bit_identical(vectors: Tensor, fails: bool) -> None:
    torch.manual_seed(0)
    model = Noisy().train()
    model.norm.eval()
    before = snapshot(model)
    batches = list(vectors.split(32))
    if fails:
        batches[2] = batches[2].clone()
        batches[2][5, 1] = float("nan")

    if fails:
        with pytest.raises(ActpruneError, match=r"Site 'fc' produced .* not finite in batch 2;"):
            profile(model, batches)
    else:
        profile(model, batches, gram=True)

    assert snapshot(model) == before


def test_a_number_that_is_not_finite_is_named_from_the_first_batch_on(
    mlp: nn.Module, vectors: Tensor
) -> None:
    bad = vectors.clone()
    bad[3, 0] = float("inf")
    with pytest.raises(ActpruneError, match="Site '0' produced activations that are not finite"):
        profile(mlp, bad)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "loader: the data are empty; give at least one sample"),
        ([torch.zeros(0, 4)], {}, "loader: the data are empty"),
        (torch.zeros(0, 4), {}, "tensor: the data are empty"),
        (torch.zeros(5, 3), {}, r"cannot run on the data: inputs of shape \[\(2, 3\)\]"),
        ([torch.zeros(70, 4), torch.zeros(5, 3)], {}, r"on batch 1: inputs of shape \[\(5, 3\)\]"),
        (torch.zeros(5, 4), {"rule": "relu"}, "Firing rule must be 'positive', .* got 'relu'"),
        (torch.zeros(5, 4), {"samples": 0}, "samples must be at least 1, got 0"),
        (torch.zeros(5, 4), {"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ("data.npz", {}, "Data must be an iterable of batches"),
    ],
)
def test_what_cannot_be_profiled_is_refused(
    mlp: nn.Module, data: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ActpruneError, match=message):
        profile(mlp, data, **options)


def test_data_that_are_held_out_entirely_are_refused(mlp: nn.Module, vectors: Tensor) -> None:
    seed = next(s for s in range(100) if heldout(torch.arange(2), s).all())
    with pytest.raises(ActpruneError, match="tensor: no calibration sample is left; give more"):
        profile(mlp, vectors[:2], leave_out=True, seed=seed)


def test_rules_can_be_taken_from_another_profile(mlp: nn.Module, vectors: Tensor) -> None:
    like = profile(mlp, vectors[:75], rule="magnitude:0.5")
    other = profile(mlp, 3 * vectors[75:], rule="magnitude:0.5")
    same = profile(mlp, 3 * vectors[75:], like=like)
    assert [s.rule for s in same.sites] == [s.rule for s in like.sites]
    assert [s.rule for s in other.sites] != [s.rule for s in like.sites]
    with pytest.raises(ActpruneError, match="given as `like` has other sites than this model"):
        profile(nn.Sequential(nn.Linear(4, 2)), vectors, like=like)


def test_a_model_without_sites_has_an_empty_profile(vectors: Tensor) -> None:
    p = profile(nn.Linear(4, 2), vectors)
    assert p.sites == ()
    assert p.samples == 150
    assert len(p.refusals) == 1


def test_two_sites_of_one_consumer_are_told_apart(vectors: Tensor) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.o = nn.Linear(4, 3), nn.Linear(4, 5), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.o(torch.cat([torch.relu(self.a(x)), torch.relu(self.b(x))], 1))

    torch.manual_seed(0)
    model = Two()
    p = profile(model, vectors, rule="positive")
    for name, layer in (("a", model.a), ("b", model.b)):
        expected = (layer(vectors) > 0).sum(0)
        assert p.site(name).samples_active.sum(0).tolist() == expected.tolist()


def test_counts_are_integers_and_moments_are_doubles(profiled: Callable[..., Profile]) -> None:
    site = profiled(0, 150, gram=True).site("0")
    for name in ("samples", "positions", "samples_active", "positions_active", "first"):
        assert getattr(site, name).dtype == np.int64
    for name in ("total", "square", "low", "high", "gram"):
        assert getattr(site, name).dtype == np.float64


def test_low_precision_models_are_counted_as_they_compute(vectors: Tensor) -> None:
    model = tiny().bfloat16()
    p = profile(model, vectors[:, :2].bfloat16(), rule="positive")
    expected = (copy.deepcopy(model)[0](vectors[:, :2].bfloat16()) > 0).sum(0)  # pyright: ignore
    assert p.site("0").samples_active.sum(0).tolist() == expected.tolist()
