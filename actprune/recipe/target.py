"""What a recipe asks for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from actprune.errors import ActpruneError
from actprune.planning.target import METRICS, SHARES, Target, parse_target
from actprune.recipe.values import Points, Section, Share

WRITTEN = (*SHARES, "loss", *METRICS)  # targets with a value


class TargetSection(Section):
    """What is asked for; percentages say what is kept. Several shares may be given."""

    units: Share = Field(default=None, description="Share of the selected sites' units kept.")
    params: Share = Field(default=None, description="Share of the model's parameters kept.")
    macs: Share = Field(default=None, description="Share of multiply-accumulates kept.")
    bytes: Share = Field(default=None, description="Share of the tensors' bytes kept.")
    loss: float | str | None = Field(
        default=None, description="Greatest forecast rise of the loss, as in +0.02."
    )
    latency: Share = Field(
        default=None, description="Share of the dense median latency on this device, measured."
    )
    accuracy: Points = Field(
        default=None, description="Points the accuracy may fall, as in -0.5pt; needs class labels."
    )
    agreement: Points = Field(
        default=None,
        description="Points of samples that may get another class than from the dense model, as "
        "in -0.5pt; for classifiers without labels.",
    )
    lossless: bool | Literal["proved"] = Field(
        default=False,
        description="Units proved silent on the box or said by others, and those that never moved "
        "off one value on the calibration data; with the word proved, without these.",
    )

    @field_validator(*WRITTEN)
    @classmethod
    def _well_formed(cls, value: Any, info: Any) -> Any:
        if value is not None:
            try:
                parse_target(_written(info.field_name, value))
            except ActpruneError as e:
                raise ValueError(str(e)) from e
        return value

    @model_validator(mode="after")
    def _something(self) -> TargetSection:
        asked = [k for k in WRITTEN if getattr(self, k) is not None]
        if self.lossless and asked:
            raise ValueError(f"lossless stands alone; remove it or {', '.join(asked)}")
        if not (self.lossless or asked):
            raise ValueError("asks for nothing; write for instance {macs: 50%} or lossless")
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets in the order of `WRITTEN`; or lossless alone."""
        if self.lossless:
            proved = self.lossless == "proved"
            return (Target(kind="lossless", word="proved" if proved else None),)
        given = ((k, getattr(self, k)) for k in WRITTEN)
        return tuple(parse_target(_written(k, v)) for k, v in given if v is not None)


def _written(kind: str, value: float | str) -> str:
    """The target as on the command line; a float is spelled without loss."""
    return f"{kind}={value if isinstance(value, str) else repr(float(value))}"


def as_target(value: Any) -> Any:
    """Read `lossless` or `macs=50%` as the mapping it stands for."""
    if not isinstance(value, str):
        return value
    try:
        parse_target(value)
    except ActpruneError as e:
        raise ValueError(str(e)) from e
    kind, _, rest = value.partition("=")
    return {"lossless": rest or True} if kind == "lossless" else {kind: rest}
