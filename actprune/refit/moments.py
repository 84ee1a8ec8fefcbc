"""First and second moments of a regression, additive over batches and folds, in float64.

Shapes: R rows, P columns, D outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor

from actprune.ops.gram import add_gram, gram

ROUNDING = 1e-12  # variance / second moment up to which a column is taken as constant: what float64
# sums leave of it is of the order of 1e-16, and a step of float32 activations 4e-15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Moments:
    """Sums over `rows` rows of inputs x and targets z."""

    rows: int
    x_P: Tensor
    xx_PP: Tensor
    z_D: Tensor
    xz_PD: Tensor
    zz_D: Tensor  # sum of squares

    @classmethod
    def of(cls, x_RP: Tensor, z_RD: Tensor) -> Moments:
        """The sums of one batch."""
        x, z = x_RP.double(), z_RD.double()
        return cls(
            rows=len(x),
            x_P=x.sum(0),
            xx_PP=gram(x),
            z_D=z.sum(0),
            xz_PD=gram(x, z),
            zz_D=z.square().sum(0),
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            rows=self.rows + other.rows,
            x_P=self.x_P + other.x_P,
            xx_PP=self.xx_PP + other.xx_PP,
            z_D=self.z_D + other.z_D,
            xz_PD=self.xz_PD + other.xz_PD,
            zz_D=self.zz_D + other.zz_D,
        )

    def through_origin(self) -> Moments:
        """The same rows and their mirror images: means 0, so that no intercept is fitted."""
        return replace(self, x_P=0 * self.x_P, z_D=0 * self.z_D)

    def cpu(self) -> Moments:
        """The same sums on the CPU."""
        names = [f.name for f in fields(self) if f.name != "rows"]
        return replace(self, **{name: getattr(self, name).cpu() for name in names})

    @property
    def mean_x(self) -> Tensor:
        return self.x_P / self.rows

    @property
    def mean_z(self) -> Tensor:
        return self.z_D / self.rows

    @property
    def cov_xx(self) -> Tensor:
        """Covariance of the inputs, divided by rows: [P, P]; exactly 0 for constant columns."""
        return covariance(self.xx_PP, self.x_P, self.rows)

    @property
    def cov_xz(self) -> Tensor:
        """Covariance of inputs and targets, divided by rows: [P, D]; 0 for constant columns."""
        cov = self.xz_PD / self.rows - self.mean_x[:, None] * self.mean_z
        cov[_constant(self.xx_PP.diagonal() / self.rows, self.mean_x)] = 0.0
        return cov

    def cov_xx_times(self, right_PD: Tensor) -> Tensor:
        """cov_xx @ right, [P, D], without a second P x P matrix."""
        varies_P1 = ~_constant(self.xx_PP.diagonal() / self.rows, self.mean_x)[:, None]
        right_PD = right_PD * varies_P1
        product = self.xx_PP @ right_PD / self.rows
        product -= self.mean_x[:, None] * (self.mean_x @ right_PD)
        return product * varies_P1

    def error(self, weight_DP: Tensor, bias_D: Tensor) -> float:
        """Mean over rows of ||z - W x - b||^2, summed over outputs."""
        gap_D = self.mean_z - weight_DP @ self.mean_x - bias_D
        var_z = (self.zz_D / self.rows - self.mean_z.square()).sum()
        cross = (weight_DP.T * self.cov_xz).sum()
        var_fit = (weight_DP.T * self.cov_xx_times(weight_DP.T)).sum()
        return float(var_z - 2 * cross + var_fit + gap_D.square().sum())


def covariance(xx_PP: Tensor, x_P: Tensor, rows: int) -> Tensor:
    """Covariance from sums over `rows` rows of x x^T and x, divided by rows: [P, P].

    Columns that vary by rounding alone get exactly 0: a solver would take the rounding for signal
    where nothing else varies.
    """
    mean_P = x_P / rows
    cov_PP = (xx_PP / rows).addr_(mean_P, mean_P, alpha=-1)
    constant_P = _constant(xx_PP.diagonal() / rows, mean_P)
    cov_PP[constant_P] = 0.0
    cov_PP[:, constant_P] = 0.0
    return cov_PP


def _constant(square_P: Tensor, mean_P: Tensor) -> Tensor:
    return square_P - mean_P.square() <= ROUNDING * square_P


class Folds:
    """Moments summed apart: of the select part, which chooses ridge strengths, and of the rest.

    Rows are added in place: two P x P matrices in all, and strips of one while they are added.
    """

    def __init__(self) -> None:
        self._rest: Moments | None = None
        self._select: Moments | None = None

    def add(self, x_RP: Tensor, z_RD: Tensor, *, selecting: bool) -> None:
        """Count some rows, all of them of the select part or none."""
        if selecting:
            self._select = _added(self._select, x_RP, z_RD)
        else:
            self._rest = _added(self._rest, x_RP, z_RD)

    def through_origin(self) -> Folds:
        """As `Moments.through_origin`, of both parts; their large matrices are the same ones."""
        other = Folds()
        other._rest = self._rest and self._rest.through_origin()
        other._select = self._select and self._select.through_origin()
        return other

    @property
    def fit(self) -> Moments:
        """What a trial fit may use: the rest, or the select part where that is all there is."""
        fit = self._select if self._rest is None else self._rest
        assert fit is not None
        return fit

    @property
    def select(self) -> Moments | None:
        """What trial fits are judged on; None where either part is empty."""
        return None if self._rest is None else self._select

    @property
    def everything(self) -> Moments:
        """Both parts together in matrices of their own; `pool` needs none."""
        return self.fit if self.select is None else self.fit + self.select

    def cpu(self) -> Folds:
        """The same sums on the CPU."""
        other = Folds()
        other._rest = self._rest and self._rest.cpu()
        other._select = self._select and self._select.cpu()
        return other

    def pool(self) -> Moments:
        """Both parts together, for the final fit. They are added in place: afterwards `fit` is the
        whole and `select` is gone."""
        if self._rest is None or self._select is None:
            return self.fit
        rest, select = self._rest, self._select
        self._select = None
        rest.xx_PP.add_(select.xx_PP)
        self._rest = replace(
            rest,
            rows=rest.rows + select.rows,
            x_P=rest.x_P + select.x_P,
            z_D=rest.z_D + select.z_D,
            xz_PD=rest.xz_PD + select.xz_PD,
            zz_D=rest.zz_D + select.zz_D,
        )
        return self._rest


def _added(sums: Moments | None, x_RP: Tensor, z_RD: Tensor) -> Moments:
    """The sums with some more rows; their P x P matrix is the same one, changed."""
    x, z = x_RP.double(), z_RD.double()
    if sums is None:
        p, d = x.shape[1], z.shape[1]
        zero = partial(torch.zeros, dtype=torch.float64, device=x.device)
        sums = Moments(
            rows=0, x_P=zero(p), xx_PP=zero(p, p), z_D=zero(d), xz_PD=zero(p, d), zz_D=zero(d)
        )
    add_gram(sums.xx_PP, x)
    return replace(
        sums,
        rows=sums.rows + len(x),
        x_P=sums.x_P + x.sum(0),
        z_D=sums.z_D + z.sum(0),
        xz_PD=sums.xz_PD + gram(x, z),
        zz_D=sums.zz_D + z.square().sum(0),
    )
