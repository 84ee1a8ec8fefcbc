"""The options that several verbs share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

MODEL_HELP = "zoo:NAME, hf:FOLDER-OR-ID, package.module:factory or file.py:factory."
DATA_HELP = "npz:FILE, text:FILE, zoo:NAME, package.module:factory or file.py:factory."

CutFolder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder written by prune.")
]
DenseModel: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help=f"The model before the cut: {MODEL_HELP} Only zoo: and hf: models are found by "
        "themselves.",
    ),
]
Check: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="Other samples for the forecast, kept out of training."),
]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="SEED", help="Of the sample blocks and the held-out third.  [default: 0]"),
]
Weights: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Weights to load: .safetensors, .pt, .pth or .th, tensors only."
    ),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Write over a file that exists already.")
]
Samples: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", help="Read only the first N samples.")
]
BatchSize: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="B", help="Samples a forward pass, or windows of text.  [default: 128, text 8]"
    ),
]
ProfileFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="P.safetensors", help="A profile.", show_default=False)
]
Targets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="macs=50%, params=70%, bytes=60%, units=20% or latency=60% (the share kept; latency "
        "is measured on this device), loss=+0.02, accuracy=-0.5pt or agreement=-0.5pt (points it "
        "may fall), lossless or lossless=proved; may be repeated.",
        show_default=False,
    ),
]
Criterion: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="CRITERION",
        help="Which units go first: residual (least harm to the refit), rare (least often "
        "active), rare_effect, effect, fluctuation, magnitude, apoz, mean_abs, minitron, wanda, "
        "taylor or random; see docs/criteria.md.  [default: residual]",
    ),
]
Compensate: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="COMPENSATE",
        help="How the rest makes up for what goes: none, mean or refit.  [default: refit]",
    ),
]
Granularity: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="patch|channel",
        help="Refit convolutions tap by tap, or channel by channel.  [default: patch]",
    ),
]
Independent: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--independent",
        help="Refit every layer on the dense model's activations, not on the pruned ones'.",
    ),
]
Ridge: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="STRENGTH", help="Relative ridge of the refit.  [default: chosen on the data]"
    ),
]
Allocate: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="uniform|global",
        help="The same share kept at each site, or one ranking over all.  [default: uniform]",
    ),
]
Only: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SITE", help="Cut only this site, or those that match (fc*); may be repeated."
    ),
]
Ignore: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="SITE", help="Leave this site whole; may be repeated.")
]
Keep: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="SITE:UNIT", help="This unit must stay; may be repeated."),
]
Drop: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="SITE:UNIT", help="This unit must go; may be repeated.")
]
Least: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--min",
        metavar="SITE:LIMIT",
        help="Fewest units to keep at the sites that match, a count or a share (fc1:8, conv*:25%); "
        "may be repeated.",
    ),
]
Most: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--max",
        metavar="SITE:LIMIT",
        help="Most units to keep at the sites that match, in the same way; may be repeated.",
    ),
]
RoundTo: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="Keep a multiple of N units at each site.  [default: 1]"),
]
Heal: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--heal", help="Then train the smaller model for a while on the outputs of the dense one."
    ),
]
HealSteps: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="Gradient steps of --heal, at most.  [default: 400]"),
]
HealLr: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="RATE", help="Greatest learning rate of --heal.  [default: 0.001]"),
]
HealBatch: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="B", help="Samples (or windows) a step of --heal.  [default: 64]"),
]
Box: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="BOX",
        help="Inputs on which lossless proves units silent: LOW:HIGH as in 0:1, data (the "
        "calibration data's extremes) or npz:FILE (low, high).  [default: any input]",
    ),
]
Level: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Level of the intervals, 0 to 1.  [default: 0.9]"),
]
Probes: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--probes/--no-probes",
        help="Also forecast from activation counts and two probes, a compensation each.  "
        "[default: where that takes seconds]",
        show_default=False,
    ),
]
Loss: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="LOSS",
        help="cross_entropy or mse (with labels), kl or difference (from the dense outputs).  "
        "[default: what suits the data]",
    ),
]

Export: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="onnx|pt2",
        help="Also write model.onnx or model.pt2, which run without actprune; checked against "
        "torch.",
    ),
]

FLAGS = {
    "model": "MODEL",
    "weights": "--weights",
    "data": "--data",
    "heldout": "--heldout",
    "check": "--check",
    "profile.samples": "--samples",
    "profile.batch_size": "--batch-size",
    "profile.rule": "--rule",
    "profile.gram": "--stats",
    "profile.seed": "--seed",
    "prune.target": "--target",
    "prune.criterion": "--criterion",
    "prune.compensate": "--compensate",
    "prune.granularity": "--granularity",
    "prune.sequential": "--independent",
    "prune.ridge": "--ridge",
    "prune.allocate": "--allocate",
    "prune.only": "--only",
    "prune.ignore": "--ignore",
    "prune.keep": "--keep",
    "prune.drop": "--drop",
    "prune.least": "--min",
    "prune.most": "--max",
    "prune.round_to": "--round-to",
    "prune.box": "--box",
    "export": "--export",
    "heal.steps": "--heal-steps",
    "heal.lr": "--heal-lr",
    "heal.batch": "--heal-batch",
    "verify.level": "--level",
    "verify.probes": "--probes",
    "verify.loss": "--loss",
}


def given(**values: Any) -> dict[str, Any]:
    """The values that the user gave: flags left out keep the recipe's own defaults."""
    return {k: v for k, v in values.items() if v is not None and v != []}
