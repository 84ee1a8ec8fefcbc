"""Models inside wrappers, compiled, traced, scripted, exported, cast and quantized."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from profile_checks import assert_same_counts
from torch import Tensor, fx, nn

from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.profiling.collect import profile
from actprune.pruning.masked import masked
from actprune.pruning.prune import prune
from actprune.pruning.saved import save_pruned
from actprune.verifying.verify import verify


class Small(nn.Module):
    """With a layer that has a name, and weights that are no whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 16)
        self.second = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    return Small()


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")  # pyright: ignore[reportReturnType]


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def compiled_method(model: nn.Module) -> nn.Module:
    model.forward = torch.compile(model.forward, backend="eager")
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "compiled method": compiled_method,
    "several wrappers": lambda m: nn.DataParallel(compiled(m)),
    "traced by fx": fx.symbolic_trace,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_a_wrapped_model_profiles_as_the_bare_one(
    small: Small, vectors: Tensor, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    bare = profile(small, vectors, gram=True)
    wrapped = wrap(copy.deepcopy(small).train())
    before = wrapped(vectors)  # a compiled one has its graph, without hooks

    p = profile(wrapped, vectors, gram=True)

    assert [s.site.name for s in p.sites] == ["first"]
    assert_same_counts(p, bare)
    assert p.identity.model_hash == bare.identity.model_hash
    assert p.census == bare.census
    assert wrapped.training
    assert torch.equal(wrapped(vectors), before)


def test_what_was_compiled_is_compiled_afterwards(small: Small, vectors: Tensor) -> None:
    graphs = 0

    def count(graph: fx.GraphModule, _: object) -> Callable[..., object]:
        nonlocal graphs
        graphs += 1
        return graph.forward

    model = torch.compile(small, backend=count)
    profile(model, vectors)  # pyright: ignore[reportArgumentType]
    assert graphs == 0
    model(vectors)
    assert graphs == 1


def test_plan_prune_masked_verify_and_save_take_wrappers_off(
    small: Small, vectors: Tensor, tmp_path: object
) -> None:
    p = profile(small, vectors, gram=True)
    planned = plan(nn.DataParallel(small), p, "units=50%")
    cut = prune(compiled(small), planned, p)
    assert type(cut) is Small
    expected = prune(small, planned, p)
    assert torch.equal(cut(vectors), expected(vectors))
    wrapped = nn.DataParallel(small)
    with masked(wrapped, planned, p) as inner:
        assert inner is small
        torch.testing.assert_close(wrapped(vectors), cut(vectors))
    verdict = verify(wrapped, nn.DataParallel(cut), planned, vectors)
    assert verdict.after.params < verdict.before.params


def test_a_cut_in_place_cuts_inside_the_wrapper(small: Small, vectors: Tensor) -> None:
    p = profile(small, vectors, gram=True)
    planned = plan(small, p, "units=50%")
    wrapped = nn.DataParallel(small)
    assert prune(wrapped, planned, p, in_place=True) is small
    assert small.first.out_features == 8


def test_a_wrapped_cut_is_saved_under_its_own_names(
    small: Small, vectors: Tensor, tmp_path: object
) -> None:
    from pathlib import Path

    from safetensors.torch import load_file

    p = profile(small, vectors, gram=True)
    planned = plan(small, p, "units=50%")
    folder = Path(str(tmp_path))
    save_pruned(nn.DataParallel(prune(small, planned, p)), nn.DataParallel(small), planned, folder)
    names = {"first.weight", "first.bias", "second.weight", "second.bias"}
    assert load_file(folder / "model.safetensors").keys() == names


def scripted_inside(model: nn.Module) -> nn.Module:
    return nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), model)


def exported(model: nn.Module) -> nn.Module:
    return torch.export.export(model, (torch.zeros(2, 4),)).module()


REFUSED: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "scripted": (torch.jit.script, "The model is TorchScript, whose layers take no hooks"),
    "scripted inside": (scripted_inside, "0 is TorchScript, whose layers take no hooks"),
    "exported": (exported, "a graph without layers, as torch.export makes it"),
    "an exported program": (
        lambda m: torch.export.export(m, (torch.zeros(2, 4),)),
        "must be a torch.nn.Module, got ExportedProgram",
    ),
    "wrapped inside": (
        lambda m: nn.Sequential(compiled(m), nn.Linear(2, 2)),
        r"0 is wrapped inside the model \(OptimizedModule\)",
    ),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_whose_layers_cannot_be_watched_is_refused_in_one_line(
    small: Small, vectors: Tensor, make: Callable[[nn.Module], object], reason: str
) -> None:
    with pytest.raises(ActpruneError, match=reason) as raised:
        profile(make(small), vectors)  # pyright: ignore[reportArgumentType]
    assert "; give the" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_under_autocast_the_sites_are_the_same_and_the_activations_those_of_the_cast(
    small: Small, vectors: Tensor
) -> None:
    bare = profile(small, vectors, rule="positive")
    with torch.autocast("cpu", torch.bfloat16):
        p = profile(small, vectors, rule="positive")
        hidden = torch.relu(small.first(vectors))
        assert torch.is_autocast_cache_enabled()

    assert hidden.dtype == torch.bfloat16
    assert p.identity.model_hash == bare.identity.model_hash
    assert [s.site for s in p.sites] == [s.site for s in bare.sites]
    (site,) = p.sites
    assert site.samples_active.sum(0).tolist() == (hidden > 0).sum(0).tolist()
    assert site.high is not None
    assert site.high.tolist() == hidden.double().amax(0).tolist()
    # 150 positive terms, added in float32 in any order
    total = hidden.double().sum(0).detach()
    torch.testing.assert_close(
        torch.from_numpy(site.total.sum(0)), total, rtol=150 * 2.0**-24, atol=0.0
    )
