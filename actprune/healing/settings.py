"""How a pruned model is healed. Nothing here loads torch: recipes hold the same object."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Match: TypeAlias = Literal["auto", "kl", "mse"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class HealSettings(BaseModel):
    """A short distillation from the dense model; the defaults suit a few thousand samples."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    steps: int = Field(default=400, ge=1, description="Gradient steps, at most.")
    lr: float = Field(default=1e-3, gt=0, description="Greatest learning rate of AdamW.")
    batch: int = Field(default=64, ge=1, description="Samples (or windows) a step and process.")
    warmup: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the steps in which the rate rises."
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's, times the rate.")
    clip: float = Field(default=1.0, gt=0, description="Greatest Euclidean norm of the gradient.")
    match: Match = Field(
        default="auto",
        description="What is made small: kl of the softmax outputs or mse of the outputs, from "
        "the dense model's; auto: kl for class labels and logits.",
    )
    temperature: float = Field(default=2.0, gt=0, description="Of both softmaxes, for kl.")
    labels: float = Field(
        default=0.0, ge=0, le=1, description="Weight of the labels' own loss, 0 to 1."
    )
    hidden: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = Field(
        default=(), description="Modules whose outputs are to match the dense model's, too."
    )
    hidden_weight: float = Field(default=1.0, gt=0, description="Weight of each such module.")
    batchnorm: Literal["frozen", "update"] = Field(
        default="frozen",
        description="Running statistics of batch normalization stay, or go on being averaged.",
    )
    precision: Precision = Field(
        default="auto",
        description="Of the forward passes: auto is float32 on a CPU and half precision on CUDA.",
    )
    every: int | None = Field(
        default=None, ge=1, description="Steps between looks at the select part; default: a 20th."
    )
    patience: int = Field(
        default=10, ge=1, description="Stop after so many looks in a row without a new best."
    )

    @property
    def look_every(self) -> int:
        """Steps between two looks at the select part."""
        return self.every or max(1, self.steps // 20)
