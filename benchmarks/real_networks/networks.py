"""The networks that are looked at, and the samples that they are looked at on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actprune.loading.documents import documents_of
from actprune.loading.model import LoadedModel, load_model
from benchmarks import cifar
from benchmarks.certificate import mnist_firings
from benchmarks.real_networks.record import Recorded, Recording, record

STORIES = str(Path(__file__).resolve().parents[1] / "stories.py") + ":model"
TOGETHER = 16  # speeches in a row that count as one document of Shakespeare


def digits_mlp() -> Recording:
    """899 digits that the network has not seen."""
    from actprune.zoo.digits_mlp import data

    model = load_model("zoo:digits-mlp").model
    return record("digits-mlp", "899 digits", model, data().inputs[0], batch=256)


def mnist_cnn() -> Recording:
    """MNIST's test images, none of which the network has seen."""
    with np.load(_asset("mnist/mnist.npz")) as data:
        x = torch.from_numpy(data["x_test"]).float().div(255).unsqueeze(1)
    model = load_model("zoo:mnist-cnn").model
    return record("mnist-cnn", "10,000 MNIST test images", model, x, batch=256)


def mnist_mlp() -> Recording:
    """The network of benchmarks/certificate.py: firings only."""
    layers, _ = mnist_firings(_asset("mnist/mnist.npz"), 0)
    sites = tuple(Recorded(name=n, peak=f, own=0.0, rms=None) for n, f in layers.items())
    return Recording(net="mnist-mlp", data="60,000 MNIST images", sites=sites)


def resnet20() -> Recording:
    """10,000 training and 10,000 test images."""
    return _cifar("resnet20", cifar.resnet20())


def resnet56() -> Recording:
    """The same images."""
    return _cifar("resnet56", cifar.resnet56())


def minilm() -> Recording:
    """The first 64 tokens of WikiText-2's longer lines; documents are its articles."""
    return _wikitext("minilm", "zoo:minilm", samples=3_000)


def smollm2() -> Recording:
    """The same, of fewer lines."""
    return _wikitext("smollm2-135m", "zoo:smollm2-135m", samples=1_000)


def stories() -> Recording:
    """The first 32 tokens of TinyStories' longer paragraphs."""
    loaded = load_model(STORIES)
    text = _asset("stories260k/tinystories_196k.txt").read_text()
    x, _ = _beginnings(loaded, documents_of(text, "blank")[0], 32)
    return record("stories260k", f"{len(x):,} paragraphs of TinyStories", loaded.model, x, batch=64)


def shakespeare() -> Recording:
    """The first 32 tokens of the longer speeches: far from what the network has been trained on."""
    loaded = load_model(STORIES)
    text = _asset("tinyshakespeare/input.txt").read_text()
    x, at = _beginnings(loaded, documents_of(text, "blank")[0], 32)
    name = f"{len(x):,} speeches of Shakespeare"
    return record(
        "stories260k@shakespeare", name, loaded.model, x, batch=64, documents=at // TOGETHER
    )


NETWORKS: Mapping[str, Callable[[], Recording]] = {
    "digits-mlp": digits_mlp,
    "mnist-cnn": mnist_cnn,
    "mnist-mlp": mnist_mlp,
    "resnet20": resnet20,
    "resnet56": resnet56,
    "stories260k": stories,
    "stories260k@shakespeare": shakespeare,
    "minilm": minilm,
    "smollm2-135m": smollm2,
}


def _cifar(net: str, model: torch.nn.Module) -> Recording:
    x = torch.cat([cifar.train(10_000).inputs[0], cifar.test().inputs[0]])
    return record(net, "20,000 CIFAR-10 images", model, x, batch=128)


def _wikitext(net: str, spec: str, *, samples: int, tokens: int = 64) -> Recording:
    loaded = load_model(spec)
    lines: list[str] = []
    article: list[int] = []
    for part in ("valid", "test"):
        for found in documents_of(_asset(f"wikitext2/{part}.txt").read_text(), "headings")[0]:
            new = [line for line in found.splitlines() if line.strip()]
            article += [article[-1] + 1 if article else 0] * len(new)
            lines += new
    x, at = _beginnings(loaded, lines, tokens)
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))[:samples]
    of = np.array(article)[at][chosen.numpy()]
    name = f"{len(chosen):,} lines of WikiText-2"
    return record(net, name, loaded.model, x[chosen], batch=16, documents=of)


def _beginnings(
    loaded: LoadedModel, texts: list[str], tokens: int
) -> tuple[Tensor, NDArray[np.int64]]:
    """The first tokens of all texts that have so many, and where each stands in `texts`."""
    found = [(i, ids) for i, ids in enumerate(loaded.tokenizer().encode(texts))]
    long = [(i, ids[:tokens]) for i, ids in found if len(ids) >= tokens]
    return torch.tensor([ids for _, ids in long]), np.array([i for i, _ in long])


def _asset(name: str) -> Path:
    path = cifar.assets() / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; set ACTPRUNE_ASSETS.")
    return path
