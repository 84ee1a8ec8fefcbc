"""The command as users get it: loading it through its entry point tests the packaging too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import pytest


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout; fails if there is anything else."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def entry() -> Callable[[list[str]], None]:
    (script,) = entry_points(group="console_scripts", name="actprune")
    return script.load()


@pytest.fixture
def actprune(
    entry: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run `actprune ARGS...`; any exception other than an exit is the test's failure."""

    def run(*args: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as e:
            entry([str(a) for a in args])
        out, err = capsys.readouterr()
        code = e.value.code
        assert isinstance(code, int)
        return Result(code, out, err)

    return run
