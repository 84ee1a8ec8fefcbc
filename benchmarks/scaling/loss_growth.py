"""Question 4: how the test loss falls with D, whether it bends at bN/c, what its exponent is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import table
from benchmarks.scaling.constants import FAMILIES
from benchmarks.scaling.losses import BENDS, LossFit, fit_losses
from benchmarks.scaling.views import SCALING, SETTLED, Array, Row, column, ends, grouped, settled


@dataclass(frozen=True, slots=True, kw_only=True)
class NetLoss:
    """Test losses of one kind of net over training sizes and seeds."""

    arm: str
    width: int
    D: Array
    loss: Array
    fits: dict[str, LossFit]  # from SETTLED images on
    wide: dict[str, LossFit]  # over all D, where bN/c lies inside the range
    b: dict[str, float]  # family to its median b, in the last hidden layer, as `fits`
    M: dict[str, float]  # and to bN/c, in samples

    @property
    def beta(self) -> float:
        """Exponent of the plain power law."""
        return self.fits["power law"].parameters["beta"]

    @property
    def best(self) -> LossFit:
        """The law of the lowest AICc from SETTLED images on."""
        return min(self.fits.values(), key=lambda f: f.aicc)

    @property
    def wide_best(self) -> LossFit:
        """And over all D."""
        return min(self.wide.values(), key=lambda f: f.aicc)

    @property
    def bend(self) -> LossFit:
        """The power law that bends, over all D."""
        return self.wide[BENDS]


def losses(rows: Sequence[Row], which: str = "best") -> list[NetLoss]:
    """One entry for each arm and width with at least four training sizes.

    Args:
        rows: of the study.
        which: "best" is the step with the lowest loss on the choosing images, "last" the last one.
    """
    found = []
    chosen = [r for r in rows if r["arm"] in SCALING]
    for (arm, width), group in grouped(chosen, lambda r: (r["arm"], r["width"])).items():
        D = column(group, "samples")
        large = D >= SETTLED
        if len(set(D[large])) < 4:
            continue
        loss = np.array([judged_loss(r, which) for r in group])
        last = [v for v in settled(group, arm) if v["layer"] == v["layers"]]
        b, M = {}, {}
        for family in FAMILIES:
            b[family] = float(np.nanmedian(column(last, "test", "laws", "fits", family, "b")))
            M[family] = float(np.nanmedian(column(last, "test", "laws", "fits", family, "M")))
        found.append(
            NetLoss(
                arm=arm,
                width=width,
                D=D,
                loss=loss,
                fits=fit_losses(D[large], loss[large]),
                wide=fit_losses(D, loss),
                b=b,
                M=M,
            )
        )
    return found


def judged_loss(row: Row, which: str) -> float:
    """Nats on the judging half of the images that were never trained on.

    The best step may be none at all: on a handful of images a wide net is worse than chance by its
    fifth step.
    """
    if which == "best":
        return min(row["looks"], key=lambda look: look["choosing_loss"])["test_loss"]
    return row["looks"][-1]["test_loss"]


def loss_table(rows: Sequence[Row]) -> str:
    """One line a net: the exponent, the bend, and where the theory has them."""
    lines = []
    for n in losses(rows):
        bend = n.bend.parameters
        first, last = ends(n.D, n.loss)
        lines.append(
            [
                f"{n.arm} {n.width}",
                f"{first:.3f} → {last:.3f}",
                f"{n.beta:.2f}",
                " / ".join(f"{n.b[f]:.2f}" for f in FAMILIES),
                f"{n.fits['power law'].r2:.3f}",
                f"{n.best.law} ({n.best.r2:.3f}); all D: {n.wide_best.law} ({n.wide_best.r2:.3f})",
                f"{bend['D0']:,.0f} ({bend['beta']:.2f}, then {bend['beta'] + bend['turn']:.2f})",
                " / ".join(f"{n.M[f]:.1f}" for f in FAMILIES),
            ]
        )
    head = [
        "net",
        "test loss, D smallest → largest",
        "exponent of D, D ≥ 100",
        "b: urn / bb / inflated",
    ]
    head += ["R², power law, D ≥ 100", "lowest AICc (R²)", "best bend over all D (slopes)"]
    return table([*head, "bN/c: urn / bb / inflated"], lines)
