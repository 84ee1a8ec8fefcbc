"""Where the Gram matrices of all sites are summed: in memory, on the device or in files.

Shapes: S samples, U units, P positions a sample, N units.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from actprune.ops.gram import add_gram
from actprune.ops.gram.precision import check_precision
from actprune.profiling.gram.drawing import drawn_positions
from actprune.profiling.gram.settings import GramSettings
from actprune.profiling.memory import check_room, free_memory
from actprune.profiling.result import FOLDS, SiteProfile
from actprune.sites.site import Site

_REMEDY = (
    "profile in Python with gram=GramSettings(offload=FOLDER) or storage='float32', or leave the "
    "Gram matrices out"
)


class GramRooms:
    """Running sums of a a^T over positions, for each site and fold."""

    def __init__(self, sites: Sequence[Site], settings: GramSettings, device: torch.device) -> None:
        """Raises ActpruneError if there is no room, or the device has not the precision."""
        check_precision(settings.precision, device)
        self.settings = settings
        dtype = np.dtype(settings.storage)
        bytes_of = {s.name: dtype.itemsize * len(FOLDS) * s.units**2 for s in sites}
        what = f"Gram matrices of {len(bytes_of)} sites"
        self._files: dict[str, np.memmap] = {}
        self.sums: dict[str, Tensor] = {}  # [3, N, N] of each site
        if settings.offload is not None:
            folder = Path(settings.offload)
            check_room(sum(bytes_of.values()), shutil.disk_usage(folder).free, what, _REMEDY)
            for s in sites:
                # without a name from the start: gone with the process, however it ends
                with tempfile.TemporaryFile(dir=folder) as file:
                    shape = (len(FOLDS), s.units, s.units)
                    self._files[s.name] = np.memmap(file, dtype=dtype, mode="w+", shape=shape)
                self.sums[s.name] = torch.from_numpy(self._files[s.name])
        else:
            # the result is a copy: on the CPU there are two of them in the end
            copies = 2 if device.type == "cpu" else 1
            check_room(copies * sum(bytes_of.values()), free_memory(device), what, _REMEDY)
            for s in sites:
                self.sums[s.name] = torch.zeros(
                    (len(FOLDS), s.units, s.units),
                    dtype=getattr(torch, settings.storage),
                    device=device,
                )
        self._drawn = {
            s.name: torch.zeros(len(FOLDS), 2, s.units, dtype=torch.float64, device=device)
            for s in sites
            if settings.positions is not None
        }

    def add(self, name: str, id_S: Tensor, block_S: Tensor, a_SUP: Tensor, seed: int) -> None:
        """Add one site's activations, each sample in its fold."""
        few, P = self.settings.positions, a_SUP.shape[2]
        for fold, part in enumerate(FOLDS):
            inside_S = (block_S >= part.value.start) & (block_S < part.value.stop)
            kept = a_SUP[inside_S.to(a_SUP.device)]
            if not len(kept):
                continue
            scale = 1.0
            if few is not None and few < P:
                at = drawn_positions(id_S[inside_S], P, few, seed).to(kept.device)
                kept = kept.gather(2, at[:, None, :].expand(-1, kept.shape[1], -1))
                scale = P / few
            rows = kept.transpose(1, 2).reshape(-1, kept.shape[1])
            add_gram(self.sums[name][fold], rows, precision=self.settings.precision, scale=scale)
            if few is not None:
                total, spread = self._drawn[name][fold]
                total += scale * rows.double().sum(0).to(total.device)
                if few < P:  # see SiteProfile.gram_stderr
                    factor = P * (P - few) / (few * (P - 1)) * scale
                    spread += factor * rows.double().pow(4).sum(0).to(spread.device)

    def freeze(self, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        """A site's matrices [3, N, N] so far, and of drawn positions `gram_drawn`."""
        drawn = self._drawn.get(name)
        kept = None if drawn is None else drawn.cpu().numpy().copy()
        if name in self._files:
            return self._files[name], kept
        return self.sums[name].cpu().numpy().copy(), kept

    def restore(self, profile: SiteProfile) -> None:
        """Go on from what `freeze` gave."""
        name = profile.site.name
        assert profile.gram is not None
        self.sums[name].copy_(torch.from_numpy(profile.gram))
        if name in self._drawn:
            assert profile.gram_drawn is not None
            self._drawn[name].copy_(torch.from_numpy(profile.gram_drawn))
