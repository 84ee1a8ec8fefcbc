"""Imports go up the flow only, so that each stage can be read and used without the later ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOW = (
    "errors", "files", "ops", "data", "running", "sites", "profiling", "theory", "adaptive",
    "exact", "refit", "planning", "pruning", "healing", "verifying", "timed", "exporting",
    "auditing", "reporting", "zoo", "loading", "integrations", "recipe",
)  # fmt: skip
ONLY = {"theory": {"errors", "theory"}, "ops": {"errors", "ops"}, "errors": {"errors"}}


def imports(source: str) -> Iterator[tuple[int, str, int]]:
    """(line, module, level) of every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level == 0 and base == "actprune":
                yield from ((node.lineno, f"{base}.{a.name}", 0) for a in node.names)
            else:
                yield node.lineno, base, node.level


def offences(stage: str, source: str) -> list[str]:
    """What a file of `stage` imports and may not."""
    found = []
    for line, module, level in imports(source):
        top, _, rest = module.partition(".")
        target = rest.split(".")[0]
        if level:
            found.append(f"{line}: relative import of {module}")
        elif top in ("actprune_cli", "cli", "actprune_recipes", "tests", "benchmarks"):
            found.append(f"{line}: {module}")
        elif top == "torch" and stage == "theory":
            found.append(f"{line}: {module}, but theory knows no tensors")
        elif top == "actprune":
            allowed = ONLY.get(stage) or set(FLOW[: FLOW.index(stage) + 1])
            if target not in allowed:
                found.append(f"{line}: {module} from {stage}")
    return found


def files() -> list[Path]:
    return sorted(p for p in (ROOT / "actprune").rglob("*.py") if p.name != "__init__.py" or
                  p.parent != ROOT / "actprune")  # fmt: skip


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_up_the_flow_only(path: Path) -> None:
    stage = path.relative_to(ROOT / "actprune").with_suffix("").parts[0]
    assert stage in FLOW, f"say in FLOW where {stage} belongs"
    assert offences(stage, path.read_text()) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "cli").glob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_command_line_imports_its_own_files_relatively(path: Path) -> None:
    named = [m for _, m, level in imports(path.read_text()) if not level]
    assert not [m for m in named if m.split(".")[0] in ("cli", "actprune_cli")]
    deep = [m for _, m, level in imports(path.read_text()) if level > 1]
    assert not deep


@pytest.mark.parametrize(
    ("stage", "source"),
    [
        ("data", "from actprune.sites.site import Site"),
        ("data", "import actprune.running.hooks"),
        ("sites", "def f():\n    from actprune.profiling import merge"),
        ("theory", "import torch"),
        ("theory", "from torch import Tensor"),
        ("theory", "from actprune.data.split import BLOCKS"),
        ("ops", "from actprune.files import write_atomically"),
        ("profiling", "from actprune import plan"),
        ("profiling", "import actprune"),
        ("profiling", "from .merge import merge"),
        ("recipe", "from actprune_cli.main import app"),
    ],
)
def test_a_forbidden_import_is_noticed(stage: str, source: str) -> None:
    assert len(offences(stage, source)) == 1


@pytest.mark.parametrize(
    ("stage", "source"),
    [
        ("sites", "from actprune.data.batch import Batch\nimport torch"),
        ("theory", "import numpy\nfrom actprune.errors import ActpruneError"),
        ("recipe", "from actprune.loading.model import load_model"),
    ],
)
def test_an_allowed_import_is_not(stage: str, source: str) -> None:
    assert offences(stage, source) == []
