"""What pyproject.toml says is what is on disk, and what is installed."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def folder(package: str) -> Path:
    """Where a package's files lie."""
    top, *rest = package.split(".")
    return ROOT.joinpath(SETUPTOOLS["package-dir"].get(top, top), *rest)


def test_every_folder_with_code_is_a_package_and_no_other() -> None:
    parents = {p.parent for top in ("actprune", "cli", "recipes")
               for p in (ROOT / top).rglob("*.py")}  # fmt: skip
    assert {folder(p) for p in SETUPTOOLS["packages"]} == parents
    assert len(SETUPTOOLS["packages"]) == len(parents)
    assert all((p / "__init__.py").is_file() for p in parents)


def test_the_command_and_the_recipes_are_installed_under_their_own_names() -> None:
    assert SETUPTOOLS["package-dir"] == {"actprune_cli": "cli", "actprune_recipes": "recipes"}


def test_every_file_that_is_no_code_is_package_data() -> None:
    declared = {
        file
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for file in folder(package).glob(pattern)
    }
    others = {
        file
        for top in ("actprune", "cli", "recipes")
        for file in (ROOT / top).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert declared == others


@pytest.mark.parametrize(
    ("package", "pattern"),
    [(p, g) for p, globs in SETUPTOOLS["package-data"].items() for g in globs],
)
def test_no_pattern_is_left_over(package: str, pattern: str) -> None:
    assert list(folder(package).glob(pattern))


def test_the_command_loads() -> None:
    (script,) = entry_points(group="console_scripts", name="actprune")
    assert script.value == PROJECT["project"]["scripts"]["actprune"]
    assert callable(script.load())


def test_the_version_is_the_same_everywhere() -> None:
    assert version("actprune") == PROJECT["project"]["version"]
