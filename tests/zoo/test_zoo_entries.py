from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.zoo import ZOO, images
from actprune.zoo.registry import find
from actprune.zoo.training import train_classifier


def arrays(name: str) -> Arrays:
    source = ZOO[name].data()
    assert isinstance(source, Arrays)
    return source


def accuracy(model: nn.Module, data: Arrays) -> float:
    with torch.no_grad():
        right = torch.cat([b.run(model).argmax(1) == b.labels for b in data.batches(500)])
    return right.float().mean().item()


@pytest.mark.parametrize("name", list(ZOO))
def test_an_entry_is_listed_under_its_own_name_and_its_net_runs_on_its_data(name: str) -> None:
    data = arrays(name)
    assert (ZOO[name].name, data.spec) == (name, f"zoo:{name}")
    assert data.inputs[0].dtype == torch.float32
    logits = next(data.batches(3)).run(ZOO[name].build().eval())
    assert logits.shape == (3, 10)


@pytest.mark.parametrize(("halves", "n"), [(images.digits, 1797), (images.mnist, 5000)])
def test_the_halves_share_no_image_and_leave_none_out(halves, n: int) -> None:
    (train, _), (rest, _) = halves()
    assert len(train) == n // 2
    assert len(train) + len(rest) == n
    # no two images of either set are equal, so equal bytes would be the same image
    assert not {x.numpy().tobytes() for x in train} & {x.numpy().tobytes() for x in rest}


@pytest.mark.parametrize("halves", [images.digits, images.mnist])
def test_labels_are_shuffled_and_fit_their_images(halves) -> None:
    for x, y in halves():
        counts = y.bincount(minlength=10) / len(y)
        # a tenth each; 5 standard deviations of a share of 898 draws are 0.05
        assert (counts - 0.1).abs().max() < 0.05
        assert (y[1:] == y[:-1]).float().mean() < 0.2  # 1 where they come sorted
        means = torch.stack([x[y == k].flatten(1).mean(0) for k in range(10)])
        nearest = torch.cdist(x.flatten(1), means).argmin(1)
        assert (nearest == y).float().mean() > 0.75  # 0.1 for labels of other images
        assert 0 <= x.min() < x.max() <= 1


def test_digits_mlp_learns_and_the_same_seed_gives_the_same_bits() -> None:
    entry = ZOO["digits-mlp"]
    a, b, other = entry.train(0), entry.train(0), entry.train(1)
    assert accuracy(a, arrays("digits-mlp")) >= 0.96
    assert not a.training
    same = [torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(next(a.parameters()), next(other.parameters()))
    assert {n for n, _ in a.named_children()} == {"fc1", "fc2", "head"}


def test_mnist_cnn_learns() -> None:
    model = ZOO["mnist-cnn"].train(0)
    assert accuracy(model, arrays("mnist-cnn")) >= 0.95


def _data() -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(0)
    return torch.randn(128, 4, generator=gen), torch.arange(128) % 2


def test_training_disturbs_nothing_and_does_not_depend_on_the_surroundings() -> None:
    x, y = _data()

    def train() -> Tensor:
        model = train_classifier(lambda: nn.Linear(4, 2), x, y, seed=3, epochs=2)
        assert isinstance(model, nn.Linear)
        assert model.weight.grad is None
        return model.weight.detach()

    plain = train()
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(threads + 1)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            again = train()
        assert torch.get_num_threads() == threads + 1
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(plain, again)


def test_the_surroundings_come_back_after_a_failure() -> None:
    def build() -> nn.Module:
        torch.rand(1)
        raise ZeroDivisionError

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        train_classifier(build, *_data(), seed=0, epochs=1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_find_reads_name_and_seed() -> None:
    assert find("zoo:digits-mlp") == (ZOO["digits-mlp"], None)
    assert find("zoo:mnist-cnn@17") == (ZOO["mnist-cnn"], 17)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "zoo:digit-mlp",
            "zoo:digit-mlp: the zoo has digits-mlp, digits-cnn, mnist-cnn, minilm, smollm2-135m, "
            "got 'digit-mlp'; did you mean 'zoo:digits-mlp'?",
        ),
        (
            "zoo:",
            "zoo:: the zoo has digits-mlp, digits-cnn, mnist-cnn, minilm, smollm2-135m, got ''.",
        ),
        (
            "zoo:mnist-cnn@x",
            "zoo:mnist-cnn@x: the training seed after '@' must be a whole number from 0 to "
            "2^63 - 1, got 'x'; for example 'zoo:mnist-cnn@0'.",
        ),
    ],
)
def test_find_says_what_is_wrong(spec: str, message: str) -> None:
    with pytest.raises(ActpruneError) as e:
        find(spec)
    assert str(e.value) == message


@pytest.mark.parametrize("seed", ["", "-1", "1.5", "²", str(2**63)])
def test_find_refuses_other_seeds(seed: str) -> None:
    with pytest.raises(ActpruneError, match="whole number"):
        find(f"zoo:mnist-cnn@{seed}")
