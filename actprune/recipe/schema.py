"""What a recipe says. Command-line flags build the same object, so there is one path to run.

Nothing here loads torch, so that checking a recipe takes no time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from actprune.healing.settings import HealSettings
from actprune.planning.target import Target
from actprune.planning.written import read_limits
from actprune.recipe.target import TargetSection, as_target
from actprune.recipe.values import Limits, Names, Section, Units, as_heal, as_path, as_tuple

if TYPE_CHECKING:
    from actprune.planning.result import Compensation

Criterion: TypeAlias = Literal[
    "residual", "rare", "rare_effect", "effect", "fluctuation", "magnitude", "apoz", "mean_abs",
    "minitron", "wanda", "taylor", "random",
]  # fmt: skip
Loss: TypeAlias = Literal["cross_entropy", "mse", "kl", "difference"]
Compensate: TypeAlias = Literal["none", "mean", "refit"]
Export: TypeAlias = Literal["onnx", "pt2"]


class ProfileSection(Section):
    """How the network is watched."""

    samples: int | None = Field(
        default=None, ge=1, description="Read only the first so many samples; default: all."
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Samples a forward pass, or windows of text; default: 128, of text 8.",
    )
    rule: str = Field(
        default="auto",
        description="When a unit counts as active: positive (above zero), magnitude:T (|a| above T "
        "times the site's root mean square), or auto, which looks for exact zeros.",
    )
    gram: bool = Field(
        default=False, description="Also sum products of activations, for refits without the data."
    )
    seed: int = Field(default=0, ge=0, description="Of the sample blocks and the held-out third.")

    @field_validator("rule")
    @classmethod
    def _known_rule(cls, rule: str) -> str:
        kind, _, t = rule.partition(":")
        try:
            known = rule in ("auto", "positive") or (kind == "magnitude" and float(t) > 0)
        except ValueError:
            known = False
        if not known:
            raise ValueError("should be 'auto', 'positive' or 'magnitude:T' with T > 0")
        return rule


class PruneSection(Section):
    """What to cut, how to choose it and how to make up for it."""

    target: Annotated[TargetSection, BeforeValidator(as_target)] = Field(
        description="What is asked for, as in {macs: 50%, params: 60%}, {loss: +0.02} or lossless."
    )
    criterion: Criterion = Field(
        default="residual",
        description="Which units go first; docs/criteria.md says what each of them is.",
    )
    compensate: Compensate = Field(
        default="refit",
        description="How the consumers make up for what was removed: none, the mean into the "
        "bias, or a ridge refit of their weights.",
    )
    granularity: Literal["patch", "channel"] = Field(
        default="patch", description="Convolutions are refitted tap by tap, or channel by channel."
    )
    sequential: bool = Field(
        default=True,
        description="Refit each layer on the inputs that the pruned layers before it make.",
    )
    ridge: float | None = Field(
        default=None, gt=0, description="Relative ridge strength; default: chosen on the data."
    )
    allocate: Literal["uniform", "global"] = Field(
        default="uniform",
        description="The same share kept at each site, or the least harm over all sites.",
    )
    only: Names = Field(
        default=(),
        description="Sites to cut, by name or pattern: fc*, or re: and a regular expression.",
    )
    ignore: Names = Field(default=(), description="Sites to leave whole, in the same way.")
    keep: Units = Field(default=(), description="Units that must stay, as site:unit.")
    drop: Units = Field(default=(), description="Units that must go, as site:unit.")
    least: Limits = Field(
        default=(), description="Fewest units that sites keep, as fc1:8 or conv*:25%."
    )
    most: Limits = Field(
        default=(), description="Most units that sites keep, as fc1:8 or conv*:75%."
    )
    round_to: int = Field(
        default=1, ge=1, description="Keep a multiple of this many units at each site."
    )

    box: Annotated[str | None, Field(min_length=1)] = Field(
        default=None,
        description="Inputs that proofs of lossless are about: LOW:HIGH, data (the calibration "
        "data's extremes) or npz:FILE with low and high; default: any input.",
    )

    @property
    def targets(self) -> tuple[Target, ...]:
        """For `plan`."""
        return self.target.targets

    @property
    def compensation(self) -> Compensation:
        """For `plan`."""
        from actprune.planning.result import Compensation  # loads torch

        return Compensation(
            kind=self.compensate,
            granularity=self.granularity,
            sequential=self.sequential,
            ridge=self.ridge,
        )

    @property
    def selection(self) -> dict[str, Any]:
        """What `plan` and `sweep` are told of the units and their making up for, by keyword."""
        return {
            "criterion": self.criterion,
            "compensation": self.compensation,
            "allocate": self.allocate,
            "only": self.only,
            "ignore": self.ignore,
            "keep": self.keep,
            "drop": self.drop,
            "least": read_limits(self.least),
            "most": read_limits(self.most),
            "round_to": self.round_to,
        }

    @model_validator(mode="after")
    def _keep_or_drop(self) -> PruneSection:
        both = sorted(set(self.keep) & set(self.drop))
        if both:
            raise ValueError(f"keep and drop both name {', '.join(both)}")
        return self


class VerifySection(Section):
    """How the result is judged on held-out data."""

    level: float = Field(default=0.9, gt=0, lt=1, description="Level of all intervals, 0 to 1.")
    loss: Loss | None = Field(
        default=None,
        description="cross_entropy or mse (need labels), kl or difference (from the dense "
        "outputs); default: what suits the data.",
    )
    probes: bool | None = Field(
        default=None,
        description="Also forecast from activation counts and two probes, which cost a "
        "compensation each; default: where that takes seconds.",
    )


class BaselineSection(Section):
    """The same widths, chosen or compensated in another way, measured for comparison."""

    criterion: Criterion = Field(description="As in prune.")
    compensate: Compensate = Field(default="none", description="As in prune.")


class Recipe(Section):
    """One run from profile to report. Paths are relative to the working directory."""

    version: Literal[1] = Field(description="Of the recipe format.")
    model: Annotated[str, Field(min_length=1)] = Field(
        description="zoo:NAME, hf:FOLDER-or-ID, package.module:factory or file.py:factory."
    )
    weights: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        default=None, description="A .safetensors, .pt, .pth or .th file of tensors."
    )
    data: str | None = Field(
        default=None,
        validate_default=True,
        description="Calibration data: npz:FILE, text:FILE, package.module:factory, "
        "file.py:factory or zoo:NAME; a zoo model brings its own.",
    )
    heldout: str | None = Field(
        default=None,
        description="Data read only by verify; default: a seeded third of data, left out before.",
    )
    check: str | None = Field(
        default=None, description="Data for the forecast, if not part of the calibration data."
    )
    profile: ProfileSection = Field(default=ProfileSection(), description="Watching.")
    prune: PruneSection = Field(description="Cutting.")
    heal: Annotated[HealSettings | None, BeforeValidator(as_heal)] = Field(
        default=None,
        description="Training the cut model on the dense one's outputs: true, or its settings.",
    )
    verify: VerifySection = Field(default=VerifySection(), description="Judging.")
    baselines: Annotated[tuple[BaselineSection, ...], BeforeValidator(as_tuple)] = Field(
        default=(), description="What else to measure on the held-out data, for comparison."
    )
    export: Export | None = Field(
        default=None,
        description="Also write model.onnx or model.pt2, which run without actprune; checked "
        "against torch.",
    )

    @field_validator("data")
    @classmethod
    def _data_given(cls, data: str | None, info: Any) -> str | None:
        model = info.data.get("model")
        if data is None and model is not None and not model.startswith("zoo:"):
            raise ValueError("field required: only a zoo: model brings its own data")
        return data
