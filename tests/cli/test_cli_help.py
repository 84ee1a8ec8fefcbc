"""Help, version and start-up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

VERBS = (
    "profile", "theory", "plan", "prune", "verify", "export", "audit", "report", "merge",
    "subtract", "diff",
)  # fmt: skip


def test_the_command_alone_prints_its_help(actprune: Callable) -> None:
    alone, asked = actprune(), actprune("--help")
    assert alone.out == asked.out
    assert (alone.code, asked.code) == (0, 0)
    for verb in (*VERBS, "recipes", "zoo"):
        assert f"\n  {verb} " in asked.out
    commands = asked.out.partition("Commands:")[2]
    assert "..." not in commands  # no summary is cut short


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_examples(actprune: Callable, verb: str) -> None:
    result = actprune(verb, "--help")
    assert result.code == 0
    assert result.err == ""
    assert "Examples:\n" in result.out
    assert f"    actprune {verb} " in result.out


@pytest.mark.parametrize(
    "verb", ["recipes list", "recipes show", "recipes check", "recipes copy", "zoo list"]
)
def test_each_inner_verb_has_help(actprune: Callable, verb: str) -> None:
    result = actprune(*verb.split(), "-h")
    assert result.code == 0
    assert f"Usage: actprune {verb}" in result.out


def test_version(actprune: Callable) -> None:
    assert actprune("--version").out == f"actprune {version('actprune')}\n"


def test_help_loads_neither_torch_nor_pandas() -> None:
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "(script,) = entry_points(group='console_scripts', name='actprune')\n"
        "try:\n    script.load()(['prune', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pandas', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
