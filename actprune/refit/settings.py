"""How the consumers make up for what was removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from actprune.exact.merge import Merge


class Compensation(BaseModel):
    """The compensation of a cut.

    `none`: nothing. `mean`: the removed units' mean goes into the bias. `refit`: ridge regression
    of the consumer's output on the kept units. `exact`: `merges`, by site name, say what the
    removed units are in terms of kept ones; a removed unit that they do not name is taken as zero.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none", "mean", "refit", "exact"] = "refit"
    granularity: Literal["patch", "channel"] = "patch"  # of convolutions: every tap, or per channel
    sequential: bool = True  # each layer sees the inputs that the pruned layers before it make
    downstream: bool = True  # sequential patch refits also of the layers behind that lose no inputs
    ridge: float | None = Field(default=None, gt=0)  # relative strength; None: chosen on data
    merges: Mapping[str, tuple[Merge, ...]] = {}

    @property
    def adds_bias(self) -> bool:
        """Whether consumers without a bias get one, unless a batch normalization takes it up."""
        if self.kind == "exact":
            return any(m.constant for merges in self.merges.values() for m in merges)
        return self.kind != "none"

    @property
    def needs_data(self) -> bool:
        """Whether it is fitted on data, or on a profile of them."""
        return self.kind not in ("none", "exact")

    @property
    def refits_downstream(self) -> bool:
        """Whether layers are refitted that lose no inputs, but read what a cut has changed."""
        per_patch = self.kind == "refit" and self.granularity == "patch"
        return per_patch and self.sequential and self.downstream
