"""How Gram matrices are summed: exactly, or cheaper, with the error that this costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from actprune.errors import ActpruneError
from actprune.ops.gram import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class GramSettings:
    """By default all positions, in float64, in memory: exact up to float64 rounding.

    N = 11,008 units take 2.9 GB a site in float64, 3 folds of N x N numbers.
    """

    # of products and of sums over 4,096 rows: "float64", "float32", on CUDA also "tf32" and
    # "bfloat16"; see `actprune.ops.gram.relative_error`
    precision: Precision = "float64"
    # at most so many positions of each sample (of packed text: of each piece of a document in a
    # window), drawn by a hash of seed, sample and position; see `SiteProfile.gram_stderr`
    positions: int | None = None
    # what the sums are kept in: float32 halves the room, and every batch adds at most 2^-24 of the
    # sum so far to the error
    storage: Literal["float64", "float32"] = "float64"
    # a folder: keep the sums in nameless files there, which vanish with the process; a site's
    # matrix in the profile is then the file itself, mapped, and not to be counted on into
    offload: Path | str | None = None

    def __post_init__(self) -> None:
        for name, choices in (
            ("precision", get_args(Precision)),
            ("storage", ("float64", "float32")),
        ):
            if getattr(self, name) not in choices:
                raise ActpruneError(
                    f"GramSettings: {name} must be one of {', '.join(choices)}, "
                    f"got {getattr(self, name)!r}."
                )
        if self.positions is not None and self.positions < 1:
            raise ActpruneError(
                f"GramSettings: positions must be at least 1, got {self.positions}."
            )
        if self.offload is not None and not Path(self.offload).is_dir():
            raise ActpruneError(f"GramSettings: offload={str(self.offload)!r} is no folder.")

    @property
    def name(self) -> str:
        """What profiles that add up agree in: whether all positions count."""
        return "gram" if self.positions is None else f"gram of {self.positions} positions"


def gram_settings(asked: bool | GramSettings) -> GramSettings | None:
    """The settings asked for; True means the defaults, False none."""
    return asked if isinstance(asked, GramSettings) else GramSettings() if asked else None


def gram_kind(asked: bool | GramSettings) -> str | None:
    """In what numbers the matrices asked for are summed, on which their last bits depend."""
    settings = gram_settings(asked)
    return settings and f"{settings.precision} in {settings.storage}"
