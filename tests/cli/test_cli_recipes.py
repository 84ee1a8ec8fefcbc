"""`recipes` and `zoo`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_list_show_check_and_copy_go_together(actprune: Callable) -> None:
    names = [r["name"] for r in actprune("recipes", "list", "--json").json]
    assert names == [
        "digits-mlp-rare",
        "digits-mlp-refit",
        "lossless",
        "mnist-cnn-heal",
        "mnist-cnn-refit",
    ]
    assert actprune("recipes", "check", *names).out == "".join(f"{n}: ok\n" for n in names)
    for name in names:
        shown = actprune("recipes", "show", name).out
        assert actprune("recipes", "copy", name).out == f"{name}.yaml\n"
        assert Path(f"{name}.yaml").read_text() == shown


def test_copy_goes_where_it_is_told_and_overwrites_nothing(actprune: Callable) -> None:
    Path("folder").mkdir()
    assert actprune("recipes", "copy", "lossless", "mine.yaml").code == 0
    assert actprune("recipes", "copy", "lossless", "folder").out == "folder/lossless.yaml\n"
    again = actprune("recipes", "copy", "lossless", "mine.yaml")
    assert again.code == 2
    assert "exists already" in again.err
    assert actprune("recipes", "copy", "lossless", "mine.yaml", "--force").code == 0


def test_list_says_what_each_recipe_does(actprune: Callable) -> None:
    head, *rows = actprune("recipes", "list").out.splitlines()
    assert head.split() == ["name", "what", "it", "does"]
    assert len(rows) == 5
    assert all(len(row.split()) > 5 for row in rows)


def test_zoo_list(actprune: Callable) -> None:
    assert {z["name"] for z in actprune("zoo", "list", "--json").json} >= {
        "digits-mlp",
        "mnist-cnn",
    }
    assert "zoo:digits-mlp " in actprune("zoo", "list").out
