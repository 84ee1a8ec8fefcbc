"""Planted silent, repeated and dependent units: all found, none wrong, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.exact.find import effective_rows
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.pruning.prune import prune
from actprune.verifying.result import Verdict
from actprune.verifying.verify import verify

UNITS = 24
SILENT, REPEATED, DEPENDENT, CONSTANT = (2, 11), (5, 17), (7, 20), 13


def plant(layer: nn.Linear | nn.Conv2d) -> None:
    """On inputs in [0, 1]: silent units, multiples of units 0 and 1, always-on units 3, 4 and 6
    with combinations of them, and one constant."""
    with torch.no_grad():
        w, b = layer.weight, layer.bias
        assert b is not None
        b[list(SILENT)] = -(w[list(SILENT)].abs().flatten(1).sum(1) + 0.1)
        w[REPEATED[0]], b[REPEATED[0]] = 3.3 * w[0], 3.3 * b[0]
        w[REPEATED[1]], b[REPEATED[1]] = w[1], b[1]
        for u in (3, 4, 6):
            b[u] = w[u].abs().sum() + 0.5
        w[DEPENDENT[0]], b[DEPENDENT[0]] = 0.7 * w[3] + 0.4 * w[4], 9.0
        w[DEPENDENT[1]], b[DEPENDENT[1]] = w[6] - 0.3 * w[3], 8.0
        w[CONSTANT], b[CONSTANT] = 0.0, 2.5


def mlp(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(40, UNITS), nn.ReLU(), nn.Linear(UNITS, 12), nn.ReLU(), nn.Linear(12, 3)
    ).to(dtype)
    plant(model[0])  # pyright: ignore[reportArgumentType]
    return model.eval()


def cnn(padding: int, pool: nn.Module) -> nn.Module:
    """With a normalization that scales every planted relation by powers of two."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, UNITS, 3), nn.BatchNorm2d(UNITS), nn.ReLU(), pool,
        nn.Conv2d(UNITS, 4, 3, padding=padding, bias=False), nn.ReLU(),
        nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip
    model(torch.rand(2, 2, 8, 8))
    plant(model[0])  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        model[1].weight[1:8:3] = 2.0  # pyright: ignore
        model[1].running_mean[0] = model[1].running_mean[5] = 0.0  # pyright: ignore
        model[1].running_var.fill_(1.0)  # pyright: ignore
    return model.eval()


def cut(model: nn.Module, x: Tensor, **options) -> tuple[Plan, nn.Module, Verdict]:
    data = Arrays.of(x[:150])
    planned = plan(model, profile(model, data), batches=data, **options)
    small = prune(model, planned)  # without data: the plan holds all that is needed
    return planned, small, verify(model, small, planned, Arrays.of(x[150:]))


def test_all_that_is_planted_in_a_perceptron_is_found() -> None:
    model, x = mlp(), torch.rand(300, 40, generator=torch.Generator().manual_seed(1))
    planned, small, verdict = cut(model, x, target="lossless=proved", box="0:1")
    assert planned.exact is not None
    assert planned.exact.proved["0"] == SILENT
    merged = planned.exact.merged["0"]
    assert CONSTANT in merged
    # of a unit and its multiples one stays, of 3, 4, 6 and their combinations three
    for group, stay in (((0, 5), 1), ((1, 17), 1), ((3, 4, 6, *DEPENDENT), 3)):
        assert len(set(group) - set(merged)) == stay
    assert len(merged) == 5
    assert not any(planned.exact.certified.values())
    exact = verdict.exact
    assert exact is not None
    assert (exact.proved, exact.merged, exact.certified) == (
        planned.exact.count("proved"), planned.exact.count("merged"), 0,
    )  # fmt: skip
    assert verdict.outcome == "pass"
    assert exact.allowed is not None
    assert 0 < exact.largest_difference <= exact.allowed
    # three layers of at most 40 terms: 3 x 50 units of 6e-8, on sums of sizes below 1e3
    assert exact.allowed < 1e-2
    assert verdict.certificate.units == 0
    assert small.get_submodule("0").get_parameter("weight").shape[0] == UNITS - 7


def test_merging_is_exact_but_for_the_rounding_of_the_stored_weights() -> None:
    model, x = mlp(torch.float64), torch.rand(300, 40, dtype=torch.float64)
    planned, small, _ = cut(model, x, target="lossless=proved", box="0:1")
    assert planned.exact is not None
    assert len(planned.exact.merged["0"]) == 5
    # float64 sums of 40, 24 and 12 terms of sizes below 1e3, in another order
    with torch.no_grad():
        assert (model(x) - small(x)).abs().max() < 80 * 1.2e-16 * 1e3


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("pool", [nn.Identity(), nn.AvgPool2d(2), nn.MaxPool2d(2)])
def test_channels_behind_a_normalization_merge(padding: int, pool: nn.Module) -> None:
    model = cnn(padding, pool)
    x = torch.rand(240, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    planned, _, verdict = cut(model, x, target="lossless=proved", box="0:1")
    assert planned.exact is not None
    merged = set(planned.exact.merged["0"])
    assert set(SILENT) <= set(planned.exact.proved["0"])
    assert len({0, 5} - merged) == 1
    always = {3, 4, 6, *DEPENDENT}
    if padding or isinstance(pool, nn.MaxPool2d):
        # combinations leave a constant, which zero padding cuts off; and the largest of a sum is
        # not the sum of the largest
        assert not always & merged
    else:
        assert len(always - merged) == 3
    assert (CONSTANT in merged) == (not padding)
    assert verdict.outcome == "pass"
    assert verdict.exact is not None
    assert verdict.exact.beyond == 0
    assert verdict.exact.largest_difference < 1e-4  # 100 units of 6e-8 on sums of sizes below 10


def test_the_folded_rows_are_what_enters_the_relu() -> None:
    model = cnn(0, nn.Identity())
    x = torch.rand(3, 2, 3, 3, dtype=torch.float64)
    site = profile(model, Arrays.of(torch.rand(8, 2, 8, 8))).sites[0].site
    rows, bias, size = effective_rows(model, site)
    with torch.no_grad():
        z = model.double()[:2](x).flatten(1)  # pyright: ignore
    assert (x.flatten(1) @ rows.T + bias - z).abs().max() < 1e-12  # 18 terms of size below 10
    assert (size >= bias.abs() - 1e-12).all()


def test_proved_and_certified_are_kept_apart() -> None:
    model, x = mlp(), torch.rand(300, 40)
    with torch.no_grad():  # silent on most inputs of the box, but not on all
        model[0].bias[15] = -model[0].weight[15].clamp(min=0).sum() * 0.95  # pyright: ignore
    x[:, 0] *= 0.5
    planned, _, verdict = cut(model, x, target="lossless", box="0:1")
    assert planned.exact is not None
    assert planned.exact.certified["0"] == (15,)
    assert planned.exact.proved["0"] == SILENT
    exact = verdict.exact
    assert exact is not None
    assert verdict.certificate.units == planned.exact.count("certified")
    assert exact.inputs_changed <= exact.bound == verdict.certificate.upper
    only, _, _ = cut(model, x, target="lossless=proved", box="0:1")
    assert 15 not in only.sites[0].removed
    # without a box nothing keeps the silent ones silent: they are certified at most
    anywhere, _, _ = cut(model, x, target="lossless")
    assert anywhere.exact is not None
    assert anywhere.exact.proved["0"] == ()
    assert set(SILENT) <= set(anywhere.exact.certified["0"])


def test_a_merge_that_is_wrong_fails_the_verdict() -> None:
    model, x = mlp(), torch.rand(300, 40)
    planned, _, good = cut(model, x, target="lossless=proved", box="0:1")
    assert good.outcome == "pass"
    merges = planned.compensation.merges["0"]
    wrong = tuple(m.model_copy(update={"constant": m.constant + 0.3}) for m in merges)
    settings = planned.compensation.model_copy(update={"merges": {"0": wrong}})
    bad = planned.model_copy(update={"compensation": settings})
    verdict = verify(model, prune(model, bad), bad, Arrays.of(x[150:]))
    assert verdict.outcome == "fail"
    assert verdict.reason.startswith(
        "the proved part of the cut changes the output of 150 held-out"
    )


def test_inputs_outside_the_box_are_not_held_against_the_proof() -> None:
    model, x = mlp(), torch.rand(300, 40)
    x[200:] = -20.0  # wakes what is silent on [0, 1]
    _, _, verdict = cut(model, x, target="lossless=proved", box="0:1")
    assert verdict.exact is not None
    assert verdict.exact.inputs_in_box == 50
    assert verdict.exact.beyond == 0
    assert verdict.exact.inputs_changed == pytest.approx(100 / 150)


def test_keep_and_round_to_are_respected() -> None:
    model, x = mlp(), torch.rand(300, 40)
    planned, _, verdict = cut(
        model, x, target="lossless=proved", box="0:1", keep=["0:2", "0:17"], round_to=5
    )
    removed = planned.sites[0].removed
    assert not {2, 17} & set(removed)
    assert len(planned.sites[0].kept) % 5 == 0
    assert verdict.exact is not None
    assert verdict.exact.beyond == 0


def test_a_plan_comes_back_from_json() -> None:
    planned, _, _ = cut(mlp(), torch.rand(300, 40), target="lossless=proved", box="0:1")
    assert Plan.from_json(planned.to_json()) == planned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "macs=50%", "box": "0:1"}, "--box: serves the target lossless only"),
        ({"target": "lossless=proved", "box": "1:0"}, "--box: low must not be above high"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ActpruneError, match=message):
        cut(mlp(), torch.rand(300, 40), **options)


@pytest.mark.parametrize(
    "options", [{"target": "lossless=proved"}, {"target": "lossless", "box": "0:1"}]
)
def test_a_proof_needs_data(options: dict[str, Any]) -> None:
    model = mlp()
    seen = profile(model, Arrays.of(torch.rand(100, 40)))
    with pytest.raises(ActpruneError, match="A proof follows the model on its inputs; give the"):
        plan(model, seen, **options)


def test_a_normalization_behind_the_consumer_takes_up_the_constant() -> None:
    model, x = cnn(0, nn.Identity()), torch.rand(240, 2, 8, 8)
    torch.manual_seed(1)
    parts = list(model.children())  # pyright: ignore
    parts.insert(5, nn.BatchNorm2d(4))
    normed = nn.Sequential(*parts).eval()
    planned, small, verdict = cut(normed, x, target="lossless=proved", box="0:1")
    assert planned.exact is not None
    assert CONSTANT in planned.exact.merged["0"]
    assert small.get_submodule("4").bias is None
    assert planned.after.params == sum(p.numel() for p in small.parameters())
    assert verdict.exact is not None
    assert verdict.exact.beyond == 0
    assert verdict.exact.largest_difference < 1e-4  # 100 units of 6e-8 on sums of sizes below 10


class Stream(nn.Module):
    """A stream of six units, made by two layers and read by two."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = nn.Linear(4, 6), nn.Linear(6, 5)
        self.two, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        return self.head((y + self.two(self.one(y).relu())).relu())


def test_silent_units_leave_a_stream_from_all_that_make_and_read_it() -> None:
    torch.manual_seed(0)
    model, x = Stream().eval(), torch.rand(300, 4)
    with torch.no_grad():
        model.stem.bias[2] = model.two.bias[2] = -50.0
    planned, small, verdict = cut(model, x, target="lossless=proved", box="0:1")
    assert planned.exact is not None
    assert 2 in planned.exact.proved["stem"]
    assert planned.exact.merged["stem"] == ()
    left = 6 - len(planned.exact.proved["stem"])
    assert small.get_submodule("two").get_parameter("weight").shape[0] == left
    assert verdict.exact is not None
    assert verdict.exact.beyond == 0
    assert verdict.exact.largest_difference < 1e-5  # 50 units of 6e-8 on sums of sizes below 3
