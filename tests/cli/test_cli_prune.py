"""What `prune` and `verify` ask for, and how they exit; the work itself is replaced."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from actprune.planning.target import Target


@dataclass
class Asked:
    """Records the calls; answers with a report of the given verdict."""

    verdict: str = "pass"
    export: Any = None
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __call__(self, *args: Any, **kwargs: Any) -> Asked:
        print("a model that talks")
        self.calls.append((args, kwargs))
        return self

    def model_dump_json(self, by_alias: bool) -> str:
        return json.dumps({"verdict": self.verdict, "loss": float("nan")})

    @property
    def recipe(self) -> Any:
        return self.calls[-1][0][0]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    asked = Asked()
    module = ModuleType("actprune.recipe.run")
    module.__dict__.update(run=asked, verify_folder=asked)
    monkeypatch.setitem(sys.modules, "actprune.recipe.run", module)
    monkeypatch.chdir(tmp_path)
    return asked


def test_flags_make_the_same_recipe_as_a_file(actprune: Callable, run: Asked) -> None:
    Path("r.yaml").write_text(
        "version: 1\nmodel: net.py:make\nweights: w.pt\ndata: npz:x.npz\nheldout: npz:h.npz\n"
        "check: npz:c.npz\nprofile: {samples: 10, batch_size: 5, rule: positive, seed: 3}\n"
        "prune:\n  target: {macs: 50%, loss: +0.02}\n  criterion: effect\n  compensate: mean\n"
        "  granularity: channel\n  sequential: false\n  ridge: 0.1\n  allocate: global\n"
        "  only: [a, b]\n  ignore: [c]\n  keep: [a:1]\n  drop: [b:2]\n  round_to: 8\n"
        "verify: {level: 0.8, loss: kl}\nexport: pt2\n"
    )
    line = (
        "prune net.py:make --weights w.pt --data npz:x.npz --heldout npz:h.npz --check npz:c.npz "
        "--samples 10 --batch-size 5 --rule positive --seed 3 --target macs=50% "
        "--target loss=0.02 --criterion effect --compensate mean --granularity channel "
        "--independent --ridge 0.1 --allocate global --only a --only b --ignore c --keep a:1 "
        "--drop b:2 --round-to 8 --level 0.8 --loss kl --export pt2 -o out --json"
    )
    assert actprune("prune", "--recipe", "r.yaml", "-o", "out", "--json").code == 0
    from_file = run.recipe
    assert actprune(*line.split()).code == 0
    assert run.recipe.prune.targets == from_file.prune.targets
    as_written = {"prune": {"target": {"loss": ...}}}
    a, b = (r.model_dump(exclude=as_written) for r in (run.recipe, from_file))
    assert a == b


def test_defaults_are_the_recipes_own(actprune: Callable, run: Asked) -> None:
    line = ("prune", "zoo:digits-mlp", "--target", "macs=50%", "-o", "out", "--json")
    assert actprune(*line).code == 0
    assert run.recipe.model_dump(exclude_defaults=True) == {
        "version": 1,
        "model": "zoo:digits-mlp",
        "prune": {"target": {"macs": "50%"}},
    }


def test_a_shipped_recipe_is_found_by_name(actprune: Callable, run: Asked) -> None:
    assert actprune("prune", "--recipe", "digits-mlp-refit", "-o", "out", "--json").code == 0
    assert run.recipe.prune.targets == (Target(kind="units", value=0.1),)
    assert [(b.criterion, b.compensate) for b in run.recipe.baselines] == [
        ("magnitude", "none"),
        ("rare", "none"),
    ]


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("outside", 0), ("fail", 1)])
def test_the_verdict_is_the_exit_code(
    actprune: Callable, run: Asked, verdict: str, code: int
) -> None:
    run.verdict = verdict
    for line in ("prune --recipe lossless -o out", "verify out --data zoo:digits-mlp"):
        result = actprune(*line.split(), "--json")
        assert result.code == code
        assert result.json == {"verdict": verdict, "loss": None}  # NaN is no JSON
        assert "a model that talks" in result.err


def test_verify_reads_the_third_of_data_or_all_of_heldout(actprune: Callable, run: Asked) -> None:
    actprune("verify", "out", "--heldout", "npz:h.npz", "--json")
    args, kwargs = run.calls[-1]
    assert args == (Path("out"), None)
    assert kwargs["heldout"] == "npz:h.npz"
    both = actprune("verify", "out", "--data", "a", "--heldout", "b")
    assert both.code == 2
    assert "--heldout: cannot be given together with --data" in both.err
