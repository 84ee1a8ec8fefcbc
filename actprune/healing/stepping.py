"""One gradient step, and one look at the select part, by one process or by several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.healing.objective import Objective, Seen, look
from actprune.healing.pool import pieces
from actprune.healing.schedule import chosen, number, rate
from actprune.profiling.ranks.team import Team
from actprune.running.state import device_of, undisturbed

ORDER, NOISE = 1, 2  # streams of random numbers
Augment = Callable[[Batch], Batch]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """All that steps and looks need; only the model, the optimizer and the scaler change."""

    model: nn.Module
    dense: nn.Module
    parameters: Sequence[nn.Parameter]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    objective: Objective
    fit: Batch
    select: Batch
    dtype: torch.dtype
    seed: int
    team: Team
    augment: Augment | None

    def step(self, index: int) -> tuple[float, bool]:
        """Take step `index`; the mean loss before it, and whether it was taken: gradients that
        overflow half precision are skipped."""
        settings, team = self.objective.settings, self.team
        rows = chosen(
            index, len(self.fit), settings.batch,
            seed=number(self.seed, ORDER), rank=team.rank, ranks=team.size,
        )  # fmt: skip
        torch.manual_seed(number(self.seed, NOISE, index, team.rank))  # dropout and `augment`
        batch = self.fit.select(rows)
        if self.augment is not None:
            batch = self.augment(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate(index, settings)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = self._loss(batch).mean()
            self.scaler.scale(loss).backward()
        mean_loss = self._average(loss.detach())
        if mean_loss != mean_loss or mean_loss in (float("inf"), float("-inf")):
            return mean_loss, False
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        if not self.scaler.is_enabled() and not bool(torch.isfinite(norm)):
            return float(norm), False
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)  # nothing, where a gradient overflowed
        self.scaler.update()
        return mean_loss, self.scaler.get_scale() >= scale

    def look(self) -> float:
        """The mean loss over the select part, in evaluation mode; the ranks share it."""
        team, size = self.team, self.objective.settings.batch
        total = torch.zeros(2, dtype=torch.float64)
        with undisturbed(self.model):
            for i, batch in enumerate(pieces(self.select, size)):
                if i % team.size == team.rank:
                    loss_S = self._loss(batch)
                    total += torch.tensor([float(loss_S.double().sum()), len(loss_S)])
        team.agree()
        total = team.reduce(total, dist.ReduceOp.SUM) if team.size > 1 else total
        return float(total[0] / total[1])

    def average_buffers(self) -> None:
        """Give all ranks the mean of their floating buffers, which each has updated on its own."""
        buffers = [b for b in self.model.buffers() if b.is_floating_point()]
        if self.team.size > 1 and buffers:
            self.team.agree()
            _mean_over_ranks(self.team, buffers)

    def _loss(self, batch: Batch) -> Tensor:
        hidden = self.objective.settings.hidden
        with torch.no_grad(), halved(self.dense, self.dtype):
            aim = look(self.dense, batch.to(device_of(self.dense)), hidden)
        device = device_of(self.model)
        aim = Seen(
            output=aim.output.to(device), hidden={k: v.to(device) for k, v in aim.hidden.items()}
        )
        moved = batch.to(device)
        with halved(self.model, self.dtype):
            seen = look(self.model, moved, hidden)
        return self.objective(seen, aim, moved.labels)

    def _average(self, loss: Tensor) -> float:
        """Put the mean over the ranks into every gradient; the mean of the losses."""
        if self.team.size == 1:
            return float(loss)
        for p in self.parameters:
            if p.grad is None:  # unused on this rank, but perhaps not on all
                p.grad = torch.zeros_like(p)
        self.team.agree()
        mean = loss.float().reshape(1).clone()
        _mean_over_ranks(
            self.team, [mean, *(p.grad for p in self.parameters if p.grad is not None)]
        )
        return float(mean)


def halved(model: nn.Module, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Autocast to `dtype` on the model's device; nothing for float32."""
    return torch.autocast(device_of(model).type, dtype=dtype, enabled=dtype != torch.float32)


def precision(name: str, device: torch.device) -> torch.dtype:
    """The type that forward passes are cast to on `device`.

    Raises:
        ActpruneError: for float16 without CUDA, which would neither be faster nor safe.
    """
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if name == "float16" and device.type != "cuda":
        raise ActpruneError(
            f"heal.precision: float16 needs CUDA, the model is on {device.type}; use bfloat16 or "
            f"float32."
        )
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def _mean_over_ranks(team: Team, tensors: Sequence[Tensor]) -> None:
    """In place, all at once: where they are, if the processes' own group can, else on the CPU."""
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        alike = [t for t in tensors if t.dtype == dtype]
        flat = torch.cat([t.detach().reshape(-1) for t in alike])
        if flat.is_cuda and dist.get_backend() == "nccl":
            dist.all_reduce(flat)
        else:
            flat = team.reduce(flat, dist.ReduceOp.SUM).to(flat.device)
        flat /= team.size
        with torch.no_grad():
            for t, part in zip(alike, flat.split([t.numel() for t in alike]), strict=True):
                t.copy_(part.reshape(t.shape))
