"""The one training loop of the zoo: the same bits for the same seed, and nothing else disturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

BATCH = 64


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Seed the CPU generator, compute on one thread, in float32, with gradients; undo it all after.

    One thread, because sums split over more would give other bits on other machines. Generators of
    accelerators are not touched.
    """
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(torch.set_default_dtype, dtype)
        stack.enter_context(torch.random.fork_rng(devices=()))
        stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.autocast("cpu", enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        torch.default_generator.manual_seed(seed)
        yield


def train_classifier(
    build: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    *,
    seed: int,
    epochs: int,
    peak_rate: float = 4e-3,
    weight_decay: float = 1e-2,
    shift: int = 0,
) -> nn.Module:
    """Build and train a classifier with AdamW and one warm-up and decay of the learning rate.

    Args:
        build: returns the network with its initial weights.
        x: inputs, float32 [n, ...], n >= 64.
        y: labels, int64 [n].
        seed: decides the initial weights, the order of the samples and the shifts.
        epochs: passes over the data, >= 1.
        peak_rate: largest learning rate.
        weight_decay: AdamW's, per unit of learning rate.
        shift: move each batch of images by up to this many pixels, in both directions; the
            pixels that leave on one side come in on the other.

    Returns:
        The trained network, in evaluation mode, on the CPU.
    """
    with isolated(seed):
        model = build().train()
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=peak_rate / 10, weight_decay=weight_decay
        )
        batches = len(x) // BATCH
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, peak_rate, total_steps=epochs * batches + 1
        )
        for _ in range(epochs):
            for ids in torch.randperm(len(x)).split(BATCH)[:batches]:
                images = x[ids]
                if shift:
                    dy, dx = torch.randint(-shift, shift + 1, (2,)).tolist()
                    images = images.roll((dy, dx), dims=(-2, -1))
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), y[ids]).backward()
                optimizer.step()
                schedule.step()
        for parameter in model.parameters():
            parameter.grad = None
        return model.eval()
