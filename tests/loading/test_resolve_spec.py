from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actprune.errors import ActpruneError
from actprune.loading.resolve import call, resolve


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)


def error(spec: str) -> str:
    with pytest.raises(ActpruneError) as e:
        resolve(spec)
    assert "\n" not in str(e.value)
    return str(e.value)


def test_a_dotted_name_and_a_path_in_normal_form(tmp_path: Path) -> None:
    Path("a.py").write_text("class Outer:\n    @staticmethod\n    def inner(): return 7\n")
    found = resolve("./a.py:Outer.inner")
    assert found.spec == "a.py:Outer.inner"
    assert call(found) == 7


def test_a_file_imports_its_neighbours() -> None:
    Path("sub").mkdir()
    Path("sub/neighbour_of_b.py").write_text("value = 5\n")
    Path("sub/b.py").write_text("def f():\n    import neighbour_of_b as n\n    return n.value\n")
    assert call(resolve("sub/b.py:f")) == 5


def test_a_module_is_found_in_the_current_folder() -> None:
    Path("found_here").mkdir()
    Path("found_here/deep.py").write_text("value = 6\n")
    assert resolve("found_here.deep:value").value == 6


def test_a_file_is_run_once_until_it_changes() -> None:
    Path("c.py").write_text("value = object()\n")
    first = resolve("c.py:value").value
    assert resolve("c.py:value").value is first
    Path("c.py").write_text("value = 'other'\n")
    assert resolve("c.py:value").value == "other"


def test_a_file_that_failed_is_run_again() -> None:
    Path("d.py").write_text("import missing_neighbour\nvalue = 4\n")
    assert "missing_neighbour" in error("d.py:value")
    Path("missing_neighbour.py").touch()
    assert resolve("d.py:value").value == 4


def test_dataclasses_and_relative_names_work_in_a_file() -> None:
    Path("e.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int = 3\n"
    )
    assert call(resolve("e.py:Point")).x == 3


def test_missing_files_and_names_get_suggestions(tmp_path: Path) -> None:
    Path("nets.py").write_text("def resnet(): pass\n")
    assert error("net.py:resnet") == "net.py: no such Python file; did you mean nets.py?"
    assert error("zzz.py:f") == f"zzz.py: no such Python file (looked in {tmp_path})."
    assert error("no/net.py:f") == "no/net.py: no such Python file; the folder no does not exist."
    assert (
        error("nets.py:resnett")
        == "nets.py:resnett: 'nets.py' has no 'resnett'; did you mean 'resnet'?"
    )
    Path("dir.py").mkdir()
    assert error("dir.py:f") == "dir.py: expected a file, got a folder; name a file in it."


def test_missing_modules(tmp_path: Path) -> None:
    for spec, missing in [("nowhere_at_all:f", "nowhere_at_all"), ("json.nope:f", "json.nope")]:
        assert error(spec) == (
            f"{spec}: no module named '{missing}' here ({tmp_path}) or installed; check the name, "
            f"or give a file as FILE.py:NAME."
        )
    Path("asks_for_more.py").write_text("import numpy\nimport not_installed_x\n")
    assert error("asks_for_more:f") == (
        "asks_for_more:f: importing it failed at asks_for_more.py, line 2: "
        "ModuleNotFoundError: No module named 'not_installed_x'"
    )


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("x = 1\nx.y\n", " at bad.py, line 2: AttributeError: 'int' object has no attribute 'y'"),
        ("import sys\nsys.exit(3)\n", " at bad.py, line 2: SystemExit: 3"),
        ("def f(:\n", ": SyntaxError: invalid syntax (bad.py, line 1)"),
        ("raise ValueError('one\\n  two')", " at bad.py, line 1: ValueError: one two"),
        ("raise ValueError('x' * 300)", f" at bad.py, line 1: ValueError: {'x' * 197}..."),
        ("assert False", " at bad.py, line 1: AssertionError"),
    ],
)
def test_a_failing_import_is_one_line(code: str, what: str) -> None:
    Path("bad.py").write_text(code)
    assert error("bad.py:f") == f"bad.py:f: importing it failed{what}"


def test_the_users_line_is_named_not_the_librarys() -> None:
    Path("f.py").write_text("import torch\n\ndef f():\n    return torch.zeros(2) @ torch.eye(3)\n")
    with pytest.raises(ActpruneError, match=r"f\.py:f: calling it failed at f\.py, line 4: Runt"):
        call(resolve("f.py:f"))


def test_an_error_of_ours_passes_as_it_is() -> None:
    Path("g.py").write_text(
        "from actprune.errors import ActpruneError\ndef f():\n    raise ActpruneError('as it is')\n"
    )
    with pytest.raises(ActpruneError, match=r"^as it is$"):
        call(resolve("g.py:f"))


@pytest.mark.parametrize("spec", ["", "a", "a:", ":b"])
def test_other_forms_are_refused(spec: str) -> None:
    assert error(spec) == f"{spec}: expected FILE.py:NAME or PACKAGE.MODULE:NAME."


def test_a_path_that_is_no_python_file_is_refused() -> None:
    assert error("a/b:f") == (
        "a/b:f: 'a/b' is neither a file ending in .py nor a module; "
        "write FILE.py:f or PACKAGE.MODULE:f."
    )
