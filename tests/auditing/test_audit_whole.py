"""All measures of one model, or of two side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import actprune
from actprune.auditing.result import MEASURES, AuditResult
from actprune.data.source import Arrays
from actprune.data.text import Text
from actprune.errors import ActpruneError
from actprune.running.hashing import model_hash


def classifier(hidden: int = 20) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(),
                         nn.Linear(hidden, 3))  # fmt: skip


def data(n: int = 120) -> Arrays:
    gen = torch.Generator().manual_seed(1)
    x = torch.randn(n, 5, generator=gen)
    with torch.no_grad():
        y = classifier().eval()(x).argmax(1)
    return Arrays.of(x, labels=y, spec="mine")


FEW: dict[str, Any] = {"basin_samples": 30, "directions": 2}


class Language(nn.Module):
    """Tokens [S, T] -> logits [S, T, 11], through one gated layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(11, 8)
        self.up, self.gate, self.down = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)
        self.head = nn.Linear(8, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        x = x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return self.head(x)


def test_every_measure_of_a_classifier() -> None:
    model = classifier()
    before, hooks = model_hash(model), [len(m._forward_hooks) for m in model.modules()]
    source = data()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    stages: list[str] = []
    found = actprune.audit(model, source, data_order="shuffled", progress=stages.append, **FEW)
    assert torch.equal(torch.get_rng_state(), state)
    assert model_hash(model) == before
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    assert all(m.training for m in model.modules())
    assert isinstance(found, AuditResult)
    a = found.model
    assert a.reasons == {}
    assert [getattr(a, m) is not None for m in MEASURES] == [True] * 5
    assert (found.data, found.samples, found.against, found.compared) == ("mine", 120, None, None)
    assert a.metrics["accuracy"] == 1.0
    assert a.hash == before
    assert {"order", "sample basin", "weight basin: direction 2 of 2"} <= set(stages)
    assert AuditResult.model_validate_json(found.model_dump_json()) == found
    json.dumps(found.model_dump(mode="json"), allow_nan=False)
    with pytest.raises(ValueError, match="frozen"):
        found.samples = 3  # pyright: ignore


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    def figures(seed: int) -> Any:
        found = actprune.audit(classifier(), data(), seed=seed, **FEW).model
        assert found.sample_basin is not None
        assert found.weight_basin is not None
        return found.sample_basin.quantiles, found.weight_basin.loss

    assert figures(0) == figures(0)
    assert figures(0) != figures(1)


def test_two_models_side_by_side() -> None:
    model = classifier()
    found = actprune.audit(model, data(), against=model, specs=("a", "b"), **FEW)
    assert found.against is not None
    assert (found.model.spec, found.against.spec) == ("a", "b")
    assert found.model.sample_basin == found.against.sample_basin
    assert found.model.weight_basin == found.against.weight_basin
    assert found.compared is not None
    assert (found.compared.ratio, found.compared.low, found.compared.high) == (1.0, 1.0, 1.0)
    other = actprune.audit(model, data(), against=classifier(9), measures=["order"])
    assert other.compared is None
    assert other.against is not None
    assert other.against.order is not None
    assert other.against.order[0].units == 9


def test_packed_text_is_restricted_measure_by_measure() -> None:
    gen = torch.Generator().manual_seed(0)
    documents = [torch.randint(0, 11, (9,), generator=gen).tolist() for _ in range(30)]
    found = actprune.audit(
        Language(), Text(documents=documents, length=8), data_order="as written", **FEW
    ).model
    assert found.sample_basin is None
    assert found.spikes is None
    assert found.reasons == {
        "sample_basin": "the inputs are tokens or indices, which have no norm to perturb by",
        "spikes": "windows of packed text mix documents and have no order of their own",
    }
    assert found.order is not None
    assert found.order[0].activation == "silu"
    assert "gate" in found.order[0].compared
    assert found.substitution is not None
    assert found.substitution[0].stderr is not None
    assert found.weight_basin is not None
    assert found.weight_basin.answers is not None
    assert "KL(before || after the change)" in found.loss_kind


def test_without_a_stated_order_there_are_no_spikes() -> None:
    found = actprune.audit(classifier(), data(), measures=["order", "spikes"]).model
    assert "no order of the samples was stated" in found.reasons["spikes"]
    with pytest.raises(ActpruneError, match="None of the measures asked for can be made: spikes:"):
        actprune.audit(classifier(), data(), measures=["spikes"])


def test_numbers_instead_of_classes_have_weights_to_perturb_but_no_answers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    x, y = torch.randn(60, 5), torch.randn(60, 2)
    found = actprune.audit(model, Arrays.of(x, labels=y), **FEW).model
    assert "numbers, not classes" in found.reasons["sample_basin"]
    assert found.weight_basin is not None
    assert found.weight_basin.answers is None
    assert found.weight_basin.loss is not None
    assert found.weight_basin.loss.threshold == pytest.approx(0.5 * found.loss)


def test_a_model_without_a_site_still_has_basins() -> None:
    found = actprune.audit(nn.Linear(5, 3), data(), **FEW).model
    assert found.reasons["order"] == "the model has no site"
    assert found.sample_basin is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"measures": ["basins"]}, "Measures are order, .*, got 'basins'"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"directions": 0}, "directions must be at least 1"),
        ({"level": 1.0}, "level must lie between 0 and 1, got 1"),
        ({"rise": -1.0}, "rise must be above 0"),
        ({"only": ["fc9"]}, "'fc9' names no site"),
        ({"loss": "mse"}, "Targets must have as many entries"),
    ],
)
def test_mistakes(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ActpruneError, match=said):
        actprune.audit(classifier(), data(), **options)


def test_only_some_samples_and_sites() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    found = actprune.audit(model, data(), measures=["order"], only=["2"], samples=50)
    assert found.samples == 50
    assert found.model.order is not None
    assert [o.site for o in found.model.order] == ["2"]
