"""A user's mistake: exit code 2, nothing on stdout, one clear line on stderr, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = "version: 1\nmodel: zoo:digits-mlp\nprune:\n  target: {macs: 50%}\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.safetensors").write_text("not a profile")
    Path("full").mkdir()
    Path("full/file").write_text("")
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(GOOD.replace("macs", "mac"))
    Path("plan.json").write_text('{"schema": 1}')


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("prun", "no such command 'prun'; did you mean 'prune'? See `actprune --help`."),
        ("profile", "missing argument 'MODEL'; see `actprune profile --help`."),
        ("profile zoo:digits-mlp", "missing option '-o' / '--out'; see `actprune profile --help`."),
        (
            "profile zoo:digits-mlp -o x --samples many",
            "; see `actprune profile --help`.",
        ),
        (
            "profile zoo:digts-mlp -o x",
            "zoo:digts-mlp: the zoo has digits-mlp, digits-cnn, mnist-cnn, minilm, "
            "smollm2-135m, got 'digts-mlp'; "
            "did you mean 'zoo:digits-mlp'?",
        ),
        (
            "profile net.py:make -o x",
            "--data: field required: only a zoo: model brings its own data",
        ),
        (
            "profile zoo:digits-mlp -o x --samples 0",
            "--samples: input should be greater than or equal to 1, got 0",
        ),
        (
            "profile zoo:digits-mlp -o x --rule negative",
            "--rule: should be 'auto', 'positive' or 'magnitude:T' with T > 0, got 'negative'",
        ),
        (
            "profile zoo:digits-mlp -o x --stats grams",
            "--stats: known are counts, moments, gram, histogram, got 'grams'.",
        ),
        (
            "profile zoo:digits-mlp -o there.safetensors",
            "-o there.safetensors: exists already; choose another name or add --force.",
        ),
        (
            "profile zoo:digits-mlp -o no/x",
            "-o no/x: there is no folder no; make it first.",
        ),
        ("profile zoo:digits-mlp -o full", "-o full: a folder; give the name of a file."),
        (
            "theory none.safetensors",
            "none.safetensors: no such profile; make one with `actprune profile`.",
        ),
        ("plan none.safetensors --target macs=50%", "none.safetensors: no such profile"),
        ("theory there.safetensors", "there.safetensors: not a readable profile"),
        ("merge there.safetensors -o x", "A B ...: give two profiles or more."),
        ("diff a b --level 2", "--level: must lie between 0 and 1, got 2."),
        ("prune -o out", "MODEL: name a model, or give --recipe R.yaml or --plan plan.json."),
        (
            "prune zoo:digits-mlp -o out",
            "--target: say what to ask for, for instance --target macs=50%.",
        ),
        (
            "prune zoo:digits-mlp -o out --target mac=50%",
            "--target: Target must be units=, params=, macs=, bytes= or latency=P%, loss=+X, "
            "accuracy= or agreement=-Xpt, or lossless, got 'mac=50%'; did you mean 'macs'?",
        ),
        (
            "prune zoo:digits-mlp -o out --target macs=50% --target macs=40%",
            "--target: macs is asked for twice; give it once.",
        ),
        (
            "prune zoo:digits-mlp -o out --target macs=50% --criterion residul",
            "got 'residul'; did you mean 'residual'?",
        ),
        (
            "prune zoo:digits-mlp -o out --target lossless --target macs=50%",
            "--target: lossless stands alone; remove it or macs",
        ),
        (
            "prune zoo:digits-mlp -o full --target macs=50%",
            "-o full: not empty; choose a new folder.",
        ),
        ("prune -o full/file --recipe good.yaml", "-o full/file: a file; give the name of a new"),
        ("prune -o out --recipe bad.yaml", "bad.yaml:4: prune.target.mac: unknown field; did you"),
        ("prune -o out --recipe digits-mlp-refi", "did you mean 'digits-mlp-refit'?"),
        (
            "prune zoo:digits-mlp -o out --recipe good.yaml",
            "MODEL: cannot be given together with --recipe; change the recipe itself",
        ),
        (
            "prune -o out --recipe good.yaml --round-to 8",
            "--round-to: cannot be given together with --recipe",
        ),
        (
            "prune -o out --recipe good.yaml --plan plan.json",
            "--plan: cannot be given together with --recipe; choose one.",
        ),
        ("prune -o out --plan none.json", "none.json: no such plan"),
        ("prune -o out --plan plan.json", "plan.json: not a valid plan: model: Field required."),
        ("recipes show nothing", "nothing: not one of the shipped recipes"),
        ("recipes check none.yaml", "none.yaml: neither a file nor one of the shipped recipes"),
    ],
)
def test_a_mistake_is_one_line(actprune: Callable, line: str, said: str) -> None:
    result = actprune(*line.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("actprune: ")
    assert result.err.count("\n") == 1
    assert said in result.err


def test_nothing_is_left_behind(actprune: Callable) -> None:
    before = sorted(Path().rglob("*"))
    assert actprune("prune", "zoo:digits-mlp", "-o", "out", "--target", "macs=500%").code == 2
    assert actprune("profile", "zoo:nothing", "-o", "P.safetensors").code == 2
    assert sorted(Path().rglob("*")) == before


def test_every_fault_of_a_recipe_has_its_own_line(actprune: Callable) -> None:
    Path("worse.yaml").write_text(GOOD.replace("macs", "mac") + "moddel: 3\n")
    result = actprune("recipes", "check", "worse.yaml", "good.yaml")
    assert (result.code, result.out) == (2, "good.yaml: ok\n")
    assert result.err == (
        "actprune: worse.yaml:4: prune.target.mac: unknown field; did you mean 'macs'?\n"
        "actprune: worse.yaml:5: moddel: unknown field; did you mean 'model'?\n"
    )


def test_a_failed_budget_exits_1_and_an_interruption_130(
    actprune: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import actprune.profiling.store as store
    from actprune.errors import BudgetError

    def fails(path: Path) -> None:
        raise BudgetError("macs=1% cannot be reached.")

    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "load_profile", fails)
    assert actprune("theory", "P").code == 1
    monkeypatch.setattr(store, "load_profile", interrupted)
    result = actprune("theory", "P")
    assert (result.code, result.err) == (130, "actprune: interrupted.\n")
