from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from actprune.errors import ActpruneError
from actprune.loading.model import build_model, load_model
from actprune.running.hashing import model_hash
from actprune.zoo import ZOO

NETS = """
import torch
from torch import nn

def net(width=3):
    torch.manual_seed(0)
    return nn.Linear(2, width)

class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 1)

ready = nn.Linear(2, 5)
number = 3

def needs(width):
    return nn.Linear(2, width)

def gives_pair():
    return nn.Linear(1, 1), None

def fails():
    return 1 / 0
"""


@pytest.fixture
def nets(tmp_path: Path) -> str:
    (tmp_path / "some folder").mkdir()
    path = tmp_path / "some folder" / "nets.py"
    path.write_text(NETS)
    return str(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTPRUNE_CACHE", str(tmp_path))


def error(spec: str, weights: Path | None = None) -> str:
    with pytest.raises(ActpruneError) as e:
        load_model(spec, weights)
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize(("name", "width"), [("net", 3), ("Net", 1), ("ready", 5)])
def test_a_function_a_class_or_a_module_of_a_file(nets: str, name: str, width: int) -> None:
    loaded = load_model(f"{nets}:{name}")
    assert isinstance(loaded.model, nn.Linear)
    assert loaded.model.out_features == width
    assert (loaded.spec, loaded.notes) == (f"{nets}:{name}", ())


def test_a_module_of_a_file_is_copied(nets: str) -> None:
    first = load_model(f"{nets}:ready").model
    before = model_hash(first)
    nn.init.zeros_(build_model(f"{nets}:ready").weight)  # pyright: ignore[reportArgumentType]
    assert model_hash(first) == model_hash(load_model(f"{nets}:ready").model) == before


def test_an_installed_module() -> None:
    loaded = load_model("actprune.zoo.digits_mlp:DigitsMLP")
    assert type(loaded.model) is ZOO["digits-mlp"].build
    assert loaded.spec == "actprune.zoo.digits_mlp:DigitsMLP"


@pytest.mark.usefixtures("cache")
def test_a_zoo_model_is_trained_and_its_spec_is_in_normal_form(tmp_path: Path) -> None:
    loaded = load_model("zoo:digits-mlp@0")
    assert loaded.spec == "zoo:digits-mlp"
    assert load_model("zoo:digits-mlp@0002").spec == "zoo:digits-mlp@2"
    data = next(ZOO["digits-mlp"].data().batches(899))
    right = data.run(loaded.model).argmax(1) == data.labels
    assert right.float().mean() >= 0.96
    assert len(list((tmp_path / "zoo").iterdir())) == 2


@pytest.mark.usefixtures("cache")
def test_the_architecture_alone_is_not_trained(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    model = build_model("zoo:mnist-cnn")
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert not (tmp_path / "zoo").exists()

    torch.save(model.state_dict(), tmp_path / "w.pt")
    again = load_model("zoo:mnist-cnn@3", tmp_path / "w.pt")  # weights replace the training
    assert model_hash(again.model) == model_hash(model)
    assert not (tmp_path / "zoo").exists()


def test_weights_are_loaded_and_notes_kept(nets: str, tmp_path: Path) -> None:
    state = {"state_dict": {"module.weight": torch.ones(3, 2), "module.bias": torch.zeros(3)}}
    torch.save(state, tmp_path / "w.pth")
    loaded = load_model(f"{nets}:net", tmp_path / "w.pth")
    assert loaded.model(torch.ones(1, 2)).tolist() == [[2.0, 2.0, 2.0]]
    assert loaded.notes == (
        "w.pth: read the weights under 'state_dict'.",
        "w.pth: dropped 'module.' from the start of all names.",
    )


def test_a_factory_must_give_a_module(nets: str) -> None:
    assert error(f"{nets}:gives_pair") == (
        f"{nets}:gives_pair: expected a torch.nn.Module, but calling it returned tuple."
    )
    assert error(f"{nets}:number") == (
        f"{nets}:number: expected something to call without arguments, got int."
    )
    assert error(f"{nets}:needs") == (
        f"{nets}:needs: must be callable without arguments, but missing a required argument: "
        f"'width'; give it a default, or name a function that fills it in."
    )
    assert error(f"{nets}:fails") == (
        f"{nets}:fails: calling it failed at nets.py, line 23: ZeroDivisionError: division by zero"
    )


FORMS = "not a model this program knows; write zoo:..., hf:..., FILE.py:NAME or PACKAGE.MODULE:NAME"


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("zooo:digits-mlp", "; did you mean 'zoo:digits-mlp'?"),
        ("ZOO:digits-mlp", "; did you mean 'zoo:digits-mlp'?"),
        ("digits-mpl", "; did you mean 'zoo:digits-mlp'?"),
        ("mnist-cnn@2", "; did you mean 'zoo:mnist-cnn'?"),
        ("a/nets.py", "; say which object of the file: 'a/nets.py:NAME'."),
        (
            "a/w.pt",
            "; this file holds weights only: name the architecture, and the file as weights.",
        ),
        ("what", "."),
        ("https://x.org/y", "."),
    ],
)
def test_an_unknown_form_gets_its_likely_remedy(spec: str, remedy: str) -> None:
    assert error(spec) == f"{spec}: {FORMS}{remedy}"


def test_nothing_is_no_model() -> None:
    assert error("") == f"nothing: {FORMS}."


def test_a_module_called_like_a_misspelt_scheme_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoos.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    assert isinstance(load_model("zoos:net").model, nn.Linear)
