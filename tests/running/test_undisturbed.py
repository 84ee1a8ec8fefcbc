from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from actprune.running.state import device_of, undisturbed


class Writing(nn.Module):
    """Writes its buffers in every forward pass, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("in_place", torch.tensor([1.0, float("nan")]))
        self.register_buffer("signs", torch.tensor([-0.0, 1.0]))
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("dropped", torch.ones(2))
        self.register_buffer("made", None)
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.in_place = self.in_place.zero_()
        self.signs = self.signs.abs_()  # equal, but not the same bits
        self.replaced = self.replaced + 1
        self.dropped = None
        self.made = torch.ones(1)
        return self.fc(x) + torch.rand(1)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.writing = Writing()
        self.norm = nn.BatchNorm1d(2)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.drop(self.norm(self.writing(x))))


def snapshot(model: nn.Module) -> list[object]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        [(n, t.detach().numpy().tobytes()) for n, t in tensors],
        [t.data_ptr() for _, t in tensors],
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        torch.get_rng_state().tolist(),
        [m._buffers.keys() for m in model.modules()],
    ]


def mixed() -> Mixed:
    torch.manual_seed(0)
    model = Mixed().train()
    model.norm.eval()  # a model can be in both modes at once
    return model


X = torch.randn(5, 3)


def runs(model: nn.Module) -> None:
    model(X)


def trains(model: nn.Module) -> None:
    model.train()
    model(X)


def forgets_hooks(model: nn.Module) -> None:
    for m in model.modules():
        m.register_forward_hook(lambda *_: None)
        m.register_forward_pre_hook(lambda *_: None)


def draws(model: nn.Module) -> None:
    torch.manual_seed(99)
    torch.rand(10)


def freezes(model: nn.Module) -> None:
    model.requires_grad_(False)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("act", [runs, trains, forgets_hooks, draws])
def test_nothing_is_left_of_what_the_block_did(
    act: Callable[[nn.Module], None], fails: bool, grad: bool
) -> None:
    model = mixed()
    before = snapshot(model)

    try:
        with undisturbed(model, grad=grad):
            act(model)
            if fails:
                raise KeyError
    except KeyError:
        assert fails

    assert snapshot(model) == before


def test_flags_changed_with_grad_are_restored() -> None:
    model = mixed()
    before = snapshot(model)
    with undisturbed(model, grad=True):
        freezes(model)
    assert snapshot(model) == before


def test_hooks_of_the_user_stay() -> None:
    model = mixed()
    seen = []
    model.frozen.register_forward_hook(lambda *_: seen.append(1))
    with undisturbed(model):
        model(X)
    model(X)
    assert len(seen) == 2


def test_the_block_runs_in_evaluation_mode_without_gradients() -> None:
    model = mixed()
    with torch.enable_grad(), undisturbed(model):
        assert not any(m.training for m in model.modules())
        assert not torch.is_grad_enabled()
        assert not model(X).requires_grad


@pytest.mark.parametrize("outside", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_with_grad_everything_needs_a_gradient_whatever_surrounds_it(
    outside: Callable[[], object],
) -> None:
    model = mixed()
    with outside():  # pyright: ignore[reportGeneralTypeIssues, reportAttributeAccessIssue]
        surrounding = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with undisturbed(model, grad=True):
            assert all(p.requires_grad for p in model.parameters())
            assert model(torch.randn(5, 3)).grad_fn is not None
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == surrounding
    assert not model.frozen.weight.requires_grad


def test_the_device_is_that_of_the_first_tensor() -> None:
    assert device_of(nn.ReLU()) == torch.device("cpu")
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta")) == torch.device("meta")
