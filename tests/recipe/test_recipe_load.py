"""Faults of recipe files: every one at once, each with its line and a remedy."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from actprune.errors import ActpruneError
from actprune.recipe.load import load_recipe, parse_recipe, recipe_from_flags

GOOD = """\
version: 1
model: zoo:digits-mlp
prune:
  target: {macs: 50%}
"""


def faults(text: str) -> list[str]:
    with pytest.raises(ActpruneError) as e:
        parse_recipe(text, "r.yaml")
    return str(e.value).splitlines()


def test_all_faults_are_reported_at_once_in_the_order_of_their_lines() -> None:
    text = """\
# a comment
version: 2
modle: zoo:digits-mlp
prune:
  criterion: residul
  compensat: refit
  seed: 4
  round_to: 0
verify:
  level: 90%
profile:
baselines:
  - criterion: rar
  - {compensate: none, extra: 1}
"""
    criteria = (
        "'residual', 'rare', 'rare_effect', 'effect', 'fluctuation', 'magnitude', 'apoz', "
        "'mean_abs', 'minitron', 'wanda', 'taylor' or 'random'"
    )
    assert faults(text) == [
        "r.yaml:2: version: input should be 1, got 2",
        "r.yaml:2: model: field required",
        "r.yaml:3: modle: unknown field; did you mean 'model'?",
        "r.yaml:4: prune.target: field required",
        f"r.yaml:5: prune.criterion: input should be {criteria}, got 'residul'; "
        "did you mean 'residual'?",
        "r.yaml:6: prune.compensat: unknown field; did you mean 'compensate'?",
        "r.yaml:7: prune.seed: unknown field; 'seed' belongs under 'profile'",
        "r.yaml:8: prune.round_to: input should be greater than or equal to 1, got 0",
        "r.yaml:10: verify.level: input should be a number, got '90%'",
        "r.yaml:11: profile: input should be a mapping of keys to values, got nothing",
        f"r.yaml:13: baselines[0].criterion: input should be {criteria}, got 'rar'; "
        "did you mean 'rare'?",
        "r.yaml:14: baselines[1].criterion: field required",
        "r.yaml:14: baselines[1].extra: unknown field; known here: criterion, compensate",
    ]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("model: zoo:digits-cnn\n", "r.yaml:5: model: given twice, first in line 2"),
        ("weights: 4\n", "r.yaml:5: weights: input should be a path, got 4"),
        (
            "weights: !!python/object/apply:os.system [ls]\n",
            "r.yaml:5: weights: tags such as 'tag:yaml.org,2002:python/object/apply:os.system' "
            "are not allowed; write a plain value",
        ),
        (
            "profile: &p {seed: 1}\nverify: *p\n",
            "r.yaml:6: verify: anchors and aliases are not allowed; write the value out",
        ),
        ("check: [1]\n", "r.yaml:5: check: input should be text, got a list"),
        ("profile: {gram: 1}\n", "r.yaml:5: profile.gram: input should be true or false, got 1"),
        (
            "profile: {rule: magnitude}\n",
            "r.yaml:5: profile.rule: should be 'auto', 'positive' or 'magnitude:T' with T > 0, "
            "got 'magnitude'",
        ),
        ("verify: {level: 1}\n", "r.yaml:5: verify.level: input should be less than 1, got 1"),
        ("? [a, b]\n: 1\n", "r.yaml:1: keys must be plain words"),
    ],
)
def test_one_fault_more(more: str, fault: str) -> None:
    assert fault in faults(GOOD + more)


@pytest.mark.parametrize(
    ("prune", "fault"),
    [
        ("target: {mac: 5%}", "prune.target.mac: unknown field; did you mean 'macs'?"),
        (
            "target: {macs: 5}",
            "prune.target.macs: is written as the share kept, as in 50%, got 5",
        ),
        (
            "target: {macs: 0%}",
            "prune.target.macs: Target macs must keep more than 0% and at most 100%, got 'macs=0%'",
        ),
        ("target: {loss: [1]}", "prune.target.loss: input should be a number, as in +0.02"),
        (
            "target: {}",
            "prune.target: asks for nothing; write for instance {macs: 50%} or lossless",
        ),
        (
            "target: lossles",
            "prune.target: Target must be units=, params=, macs=, bytes= or latency=P%, "
            "loss=+X, accuracy= or agreement=-Xpt, or lossless, got 'lossles'; did "
            "you mean 'lossless'?",
        ),
        (
            "{target: lossless, keep: [fc1]}",
            "prune.keep[0]: should be written site:unit, as in fc1:12, got 'fc1'",
        ),
        (
            "{target: lossless, sequential: sometimes}",
            "prune.sequential: input should be true or false, got 'sometimes'",
        ),
    ],
)
def test_faults_of_prune(prune: str, fault: str) -> None:
    text = f"version: 1\nmodel: zoo:digits-mlp\nprune:\n  {prune}\n"
    assert faults(text) == [f"r.yaml:4: {fault}"]


def test_text_that_yaml_would_take_for_something_else_stays_text() -> None:
    more = "  only: [0, on, 'no', null_site]\n  keep: [2:5, 1:30]\n  ridge: 1e-3\n"
    prune = parse_recipe(GOOD + more, "r.yaml").prune
    assert prune.only == ("0", "on", "no", "null_site")
    assert prune.keep == ("2:5", "1:30")  # YAML 1.1 reads 2:5 in base 60
    assert prune.ridge == 1e-3  # and 1e-3 as text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "r.yaml: the recipe is empty; `actprune recipes copy` gives one to start from."),
        (
            "# only this\n",
            "r.yaml: the recipe is empty; `actprune recipes copy` gives one to start from.",
        ),
        ("- 1\n", "r.yaml:1: a recipe is a mapping of keys to values."),
        (
            "version: 1\n\tmodel: x\n",
            "r.yaml:2: not valid YAML: while scanning for the next token: found character '\\t' "
            "that cannot start any token.",
        ),
        (
            "version: [1\nmodel: x\n",
            "r.yaml:2: not valid YAML: while parsing a flow sequence: expected ',' or ']', "
            "but got ':'.",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "r.yaml:2: not valid YAML: expected a single document in the stream: but found "
            "another document.",
        ),
        ("[" * 5000, "r.yaml: nested too deeply for a recipe."),
    ],
)
def test_what_is_no_recipe_at_all(text: str, said: str) -> None:
    assert faults(text) == [said]


def test_missing_files_folders_and_binaries_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name, said in (
        ("none.yaml", "no such recipe; `actprune recipes list` shows those that come along."),
        ("", "a folder, not a recipe."),
        ("binary.yaml", "not a text file; a recipe is YAML in UTF-8."),
    ):
        path = tmp_path / name
        with pytest.raises(ActpruneError) as e:
            load_recipe(path)
        assert str(e.value) == f"{path}: {said}"


def test_every_shipped_recipe_is_valid_and_opens_with_a_comment() -> None:
    shipped = [f for f in files("actprune_recipes").iterdir() if f.name.endswith(".yaml")]
    assert len(shipped) == 5
    for f in shipped:
        text = f.read_text("utf-8")
        assert text.startswith("# "), f.name
        parse_recipe(text, f.name)


def test_faults_of_flags_name_the_flag() -> None:
    values = {
        "version": 1,
        "model": "net.py:make",
        "prune": {"target": {"macs": "50%"}, "criterion": "rar", "keep": ["x"]},
    }
    flags = {"data": "--data", "prune.criterion": "--criterion", "prune.keep": "--keep"}
    with pytest.raises(ActpruneError) as e:
        recipe_from_flags(values, flags)
    lines = str(e.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["--data", "--criterion", "--keep"]
    assert lines[2] == "--keep: should be written site:unit, as in fc1:12, got 'x'"
