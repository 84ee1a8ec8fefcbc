from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import actprune

HEAVY = (
    "triton", "torch._dynamo", "torch._inductor", "matplotlib", "jinja2", "sklearn", "mlxtend",
    "transformers", "torchvision", "pandas", "typer", "rich", "onnx", "onnxruntime",
)  # fmt: skip


def test_importing_loads_nothing_heavy_and_touches_no_gpu(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"  # what torch itself loads is not our doing
        "import actprune\n"
        f"print([m for m in {HEAVY} if m in sys.modules and m not in before])\n"
        "print(torch.cuda.is_initialized(), torch.get_num_threads() > 0)\n"
        "print(torch.is_grad_enabled(), torch.get_default_dtype(), sys.getprofile())\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning:actprune", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.splitlines() == ["[]", "False True", "True torch.float32 None"]
    assert list(tmp_path.iterdir()) == []


def test_the_public_names_exist_and_say_what_they_are() -> None:
    for name in (
        "profile", "fit", "plan", "prune", "verify", "masked", "merge", "subtract", "diff",
        "survey", "load", "Profiler",
        "load_profile", "save_profile", "save_pruned", "Profile", "Theory", "Plan", "Verdict",
        "Compensation", "audit", "AuditResult", "export", "Exported", "ActpruneError",
        "BudgetError",
    ):  # fmt: skip
        assert getattr(actprune, name).__doc__, name


def test_no_submodule_shadows_a_public_function() -> None:
    for name in (
        "profile",
        "plan",
        "prune",
        "verify",
        "merge",
        "subtract",
        "diff",
        "fit",
        "masked",
        "export",
    ):
        assert callable(getattr(actprune, name)), name
