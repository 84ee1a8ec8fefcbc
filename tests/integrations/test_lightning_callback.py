from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import actprune
from actprune.errors import ActpruneError

L = pytest.importorskip("lightning.pytorch")

from actprune.integrations.lightning import ActivationCallback  # noqa: E402  # needs the above

SAMPLES, BATCH = 24, 6


class Lit(L.LightningModule):
    def __init__(self, *, whole: bool = False, fails: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(5, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 8), nn.ReLU(),
            nn.Linear(8, 3),
        )  # fmt: skip
        self.whole, self.fails = whole, fails

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self(x) if self.whole else self.net(x), y)

    def training_step(self, batch: Any, index: int) -> Tensor:
        if self.fails and index == 2:
            raise RuntimeError("broken")
        return self.loss(batch)

    def validation_step(self, batch: Any, index: int) -> Tensor:
        return self.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader() -> DataLoader:
    gen = torch.Generator().manual_seed(1)
    x = torch.randn(SAMPLES, 5, generator=gen)
    return DataLoader(TensorDataset(x, torch.arange(SAMPLES) % 3), batch_size=BATCH)


def fit(model: Any, folder: Path, callbacks: list[Any]) -> None:
    torch.manual_seed(1)  # of the dropout
    L.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        callbacks=callbacks,
    ).fit(model, loader(), loader())  # fmt: skip


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize(("whole", "module"), [(True, ""), (False, "net")])
def test_a_training_is_counted_and_stays_the_same(whole: bool, module: str, tmp_path: Path) -> None:
    alone, watched = Lit(whole=whole), Lit(whole=whole)
    fit(alone, tmp_path, [])
    path = tmp_path / "p.safetensors"
    watch = ActivationCallback(path, module=module, window=4)
    fit(watched, tmp_path, [watch])

    for a, b in zip(alone.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)
    assert hooks(watched) == 0
    assert watch.profile.samples == 2 * SAMPLES  # two epochs, and no validation
    assert len(watch.windows) == 2
    assert [s.units for s in watch.profile.sites] == [12, 8]
    assert actprune.load_profile(path).identity == watch.profile.identity


def test_validation_counts_if_asked_but_not_the_sanity_check(tmp_path: Path) -> None:
    watch = ActivationCallback(module="net", evaluation=True)
    fit(Lit(), tmp_path, [watch])
    assert watch.profile.samples == 4 * SAMPLES


def test_hooks_are_gone_after_an_error(tmp_path: Path) -> None:
    model, watch = Lit(fails=True), ActivationCallback(module="net")
    with pytest.raises(RuntimeError, match="broken"):
        fit(model, tmp_path, [watch])
    assert hooks(model) == 0
    assert watch.profile.samples == 2 * BATCH


def test_a_module_that_is_not_there_or_not_called_is_named(tmp_path: Path) -> None:
    with pytest.raises(ActpruneError, match="Lit has no module 'nets'; it has net"):
        fit(Lit(), tmp_path, [ActivationCallback(module="nets")])
    watch = ActivationCallback(tmp_path / "p.safetensors")
    with pytest.raises(ActpruneError, match="No forward pass of Lit has been counted"):
        fit(Lit(whole=False), tmp_path, [watch])


def test_a_compiled_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ActpruneError, match="Lit is compiled"):
        fit(torch.compile(Lit(), backend="eager"), tmp_path, [ActivationCallback(module="net")])
