"""The Python interface, as the README and the product page use it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import actprune

SOURCE = Path(str(actprune.__file__)).read_text()


def declared() -> set[str]:
    """Names that the type checker is told about."""
    tree = ast.parse(SOURCE)
    (block,) = [n for n in tree.body if isinstance(n, ast.If)]
    imports = [*block.body, *tree.body]
    return {
        alias.asname
        for n in imports
        if isinstance(n, ast.ImportFrom) and str(n.module).startswith("actprune")
        for alias in n.names
        if alias.asname
    }


def test_what_the_type_checker_sees_is_there_and_nothing_else() -> None:
    public = {n for n in dir(actprune) if not n.startswith("_")}
    modules = {p.stem for p in Path(str(actprune.__file__)).parent.iterdir()}
    assert declared() <= public
    assert public - declared() - modules <= {"Any", "TYPE_CHECKING", "import_module"}
    for name in declared():
        assert getattr(actprune, name).__module__.startswith("actprune.")


def test_no_module_hides_a_function() -> None:
    modules = {p.stem for p in Path(str(actprune.__file__)).parent.iterdir()}
    assert not declared() & modules


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'actprune' has no attribute 'prune_it'"):
        _ = actprune.prune_it  # pyright: ignore


def test_importing_loads_neither_torch_nor_the_command() -> None:
    code = (
        "import sys, actprune; print([m for m in ('torch', 'triton', 'typer', 'matplotlib') "
        "if m in sys.modules]); actprune.plan; print([m for m in ('torch', 'typer', 'matplotlib') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['torch']"]


def test_from_profile_to_verdict_with_a_users_own_model_and_batches() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 40), nn.ReLU(), nn.Linear(40, 4)).eval()
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(900, 8, generator=gen)
    with torch.no_grad():
        y = model(x).argmax(1)
    batches = list(zip(x[:600].split(64), y[:600].split(64), strict=True))
    heldout = list(zip(x[600:].split(64), y[600:].split(64), strict=True))

    profile = actprune.profile(model, batches)
    theory = actprune.fit(profile)
    assert theory.sites[0].units == 40
    plan = actprune.plan(model, profile, target="macs=50%", batches=batches)
    assert str(plan.forecast).endswith(", 90 %")
    with actprune.masked(model, plan, batches=batches), torch.no_grad():
        tried = model(x)
    small = actprune.prune(model, plan, profile, batches=batches)
    with torch.no_grad():
        # float32 sums of 20 terms of order 1 in another order
        torch.testing.assert_close(small(x), tried, rtol=0, atol=1e-5)
    verdict = actprune.verify(model, small, plan, heldout)
    assert verdict.ok
    assert verdict.after.macs <= 0.5 * verdict.before.macs
    assert isinstance(verdict, actprune.Verdict)
