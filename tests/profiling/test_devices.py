"""A model over several devices: each site is reduced where its activations are."""

from __future__ import annotations

import pytest
import torch
from exact_models import exact_mlp
from torch import Tensor, nn

from actprune.data.batch import as_batch
from actprune.profiling.collect import profile
from actprune.profiling.counting import ledger
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.rules import Rule
from actprune.sites.find import survey


class There(Tensor):
    """A CPU tensor that says it is on a GPU."""

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        return torch.device("cuda", 0)


def test_compiled_code_is_kept_to_activations_on_the_page_s_own_device(
    vectors: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def reduce(out: Tensor, x: Tensor, *, backend: str, **_: object) -> None:
        asked.append(backend)

    monkeypatch.setattr(ledger, "REPAYS_COMPILING", 0)
    monkeypatch.setattr(ledger, "native_takes", lambda x: True)
    monkeypatch.setattr(ledger, "unit_stats_into", reduce)
    batch = as_batch(vectors, 0)
    (site, *_) = survey(exact_mlp(), batch).sites
    rules = {site.name: Rule(kind="positive", threshold=0.0)}
    counts = Ledger([site], rules, with_gram=False, device=torch.device("cpu"))
    counts.open(batch)
    a_SUP = torch.zeros(len(vectors), site.units, 1)

    counts.see(site.name, a_SUP)
    counts.see(site.name, a_SUP.as_subclass(There))

    assert asked == ["native", "auto"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_model_on_the_cpu_and_a_gpu_counts_as_on_the_cpu(vectors: Tensor) -> None:
    class Send(nn.Module):
        def __init__(self, device: str) -> None:
            super().__init__()
            self.device = device

        def forward(self, x: Tensor) -> Tensor:
            return x.to(self.device)

    first, relu, second, clip, last = exact_mlp().children()
    halves = [first, relu, Send("cuda"), second.to("cuda"), clip, Send("cpu"), last]
    plain = profile(exact_mlp(), vectors, gram=True)
    p = profile(nn.Sequential(*halves), vectors, gram=True)
    for x, y in zip(p.sites, plain.sites, strict=True):
        assert x.samples_active.tolist() == y.samples_active.tolist()
        assert x.total.tolist() == y.total.tolist()
        assert x.gram is not None
        assert y.gram is not None
        assert x.gram.tolist() == y.gram.tolist()
