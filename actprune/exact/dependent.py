"""Rows that are combinations of other rows, found so that the combination holds to rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CLOSE = 4  # units of rounding by which the entries of every row may be off
NOISE = (1e-3, 1e-6)  # shares of a row's length that are left out below, where that can be
LARGEST = 100.0  # coefficient: beyond it the consumer's weights would drown in rounding
CHUNK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """row[unit] = sum over k of coefficients[k] row[sources[k]], in exact arithmetic on weights
    that differ from the stored ones by `CLOSE` units of rounding at most."""

    unit: int
    sources: tuple[int, ...]
    coefficients: tuple[float, ...]


def off(rows: Tensor, sizes: Tensor, unit: int, sources: Tensor, coefficients: Tensor) -> float:
    """The smallest e such that the combination holds exactly for some rows whose entries differ
    by e times `sizes` from these (Oettli and Prager 1964, the componentwise backward error)."""
    residual = (rows[unit] - coefficients @ rows[sources]).abs()
    size = sizes[unit] + coefficients.abs() @ sizes[sources]
    if bool((residual[size == 0] > 0).any()):
        return float("inf")
    return float((residual / size.clamp(min=1e-300)).max()) if len(size) else 0.0


def proportional(
    rows: Tensor, sizes: Tensor, units: Tensor, u: float, prefer: Tensor
) -> list[Combination]:
    """Rows that are a positive multiple of an earlier one, each as such of the first of its kind.

    Args:
        rows: float64 [N, M], the bias among the entries.
        sizes: float64 [N, M], at least |rows|: of the stored numbers that an entry is made of.
        units: int64, which rows to compare.
        u: unit roundoff of the stored entries.
        prefer: bool [N], rows that may serve as sources.
    """
    norms = rows.norm(dim=1)
    units = units[norms[units] > 0]
    order = torch.cat([units[prefer[units]], units[~prefer[units]]])
    unit_rows = rows[order] / norms[order, None]
    first: dict[int, int] = {}  # position in `order` of a row -> of the source it repeats
    for start in range(0, len(order), CHUNK):
        near = unit_rows[start : start + CHUNK] @ unit_rows.T > 1 - 1e-9
        for i, j in near.nonzero().tolist():
            i += start
            if j < i and i not in first and j not in first and bool(prefer[order[j]]):
                scale = norms[order[i]] / norms[order[j]]
                source = order[j : j + 1]
                if _holds(rows, sizes, int(order[i]), source, scale.reshape(1), u):
                    first[i] = j
    return [
        Combination(
            unit=int(order[i]),
            sources=(int(order[j]),),
            coefficients=(float(norms[order[i]] / norms[order[j]]),),
        )
        for i, j in sorted(first.items())
    ]


def dependent(
    rows: Tensor, sizes: Tensor, units: Tensor, u: float, prefer: Tensor
) -> list[Combination]:
    """Rows that are combinations of others, as in a QR decomposition with pivoting
    (Golub 1965); every combination is then checked entry by entry (`off`).

    Arguments as for `proportional`; the bias is not among the entries.
    """
    sources = units[prefer[units]]
    basis = sources[_pivots(rows[sources], u)] if len(sources) else sources
    coefficients = _solve(rows, basis, units)
    found = []
    chosen = set(basis.tolist())
    for column, unit in enumerate(units.tolist()):
        if unit in chosen:
            continue
        c = coefficients[:, column]
        # few sources first: small shares may be no more than what the solve makes of rounding
        shares = c.abs() * rows[basis].norm(dim=1) / rows[unit].norm().clamp(min=1e-300)
        fewer = (basis[shares > least] for least in NOISE)
        tries = ((own, _solve(rows, own, torch.tensor([unit]))[:, 0]) for own in fewer)
        for own, weights in (*tries, (basis, c)):
            if _holds(rows, sizes, unit, own, weights, u):
                found.append(
                    Combination(
                        unit=unit,
                        sources=tuple(own.tolist()),
                        coefficients=tuple(weights.tolist()),
                    )
                )
                break
    return found


def _solve(rows: Tensor, basis: Tensor, units: Tensor) -> Tensor:
    """Least squares [basis, units] of the rows of `units` on those of `basis`."""
    if not len(basis) or not len(units) or not rows.shape[1]:
        return torch.zeros(len(basis), len(units), dtype=torch.float64)
    found = np.linalg.lstsq(rows[basis].T.numpy(), rows[units].T.numpy(), rcond=None)[0]
    return torch.from_numpy(np.ascontiguousarray(found))


def _holds(rows: Tensor, sizes: Tensor, unit: int, sources: Tensor, c: Tensor, u: float) -> bool:
    small = not len(c) or float(c.abs().max()) <= LARGEST
    return small and off(rows, sizes, unit, sources, c) <= CLOSE * u


def _pivots(rows: Tensor, u: float) -> Tensor:
    """Positions of rows that span all others up to rounding: Gram-Schmidt by the largest rest, each
    step done twice, until no row has more left than rounding of its own length."""
    norms = rows.norm(dim=1)
    rest = rows.clone()
    limit = CLOSE * u * norms * max(1.0, rows.shape[1] ** 0.5)
    chosen: list[int] = []
    basis = torch.zeros(0, rows.shape[1], dtype=torch.float64)
    for _ in range(min(rows.shape)):
        left = rest.norm(dim=1)
        left = torch.where(left > limit, left, 0.0)
        left[chosen] = 0.0
        best = int(left.argmax())
        if left[best] == 0:
            break
        direction = rest[best]
        direction = direction - basis.T @ (basis @ direction)
        direction = direction / direction.norm()
        chosen.append(best)
        basis = torch.cat([basis, direction[None]])
        rest = rest - torch.outer(rest @ direction, direction)
    return torch.tensor(chosen, dtype=torch.int64)
