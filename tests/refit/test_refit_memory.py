"""How many P x P matrices a refit holds at once."""

from __future__ import annotations

import torch

from actprune.refit.moments import Folds
from actprune.refit.ridge import choose_strength, ridge
from benchmarks.memory import peak_bytes


def test_a_refit_holds_three_large_matrices_at_most() -> None:
    p, d, rows = 1200, 4, 100
    gen = torch.Generator().manual_seed(0)
    x, z = torch.randn(rows, p, generator=gen), torch.randn(rows, d, generator=gen)
    prior = torch.zeros(d, p, dtype=torch.float64)

    def fit() -> None:
        folds = Folds()
        for selecting in (False, True, False, True):
            folds.add(x, z, selecting=selecting)
        strength = choose_strength(folds.fit, folds.select, prior)
        ridge(folds.pool(), prior, strength)

    # both folds and the system that becomes its own Cholesky factor. Beside them lie rows in
    # float64, the right sides and sums: a tenth and a few vectors
    assert peak_bytes(fit) < 3.2 * p * p * 8
