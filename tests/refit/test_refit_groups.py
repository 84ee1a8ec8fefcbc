"""Layers of several groups are fitted group by group, against plain least squares."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.refit.sequential import compensate
from actprune.refit.settings import Compensation
from actprune.running.hooks import watching_inputs
from actprune.running.substitute import Affine, substituted
from actprune.sites.cut import Cut
from actprune.sites.find import survey

# (groups, channels made by a group, stride, dilation, padding, bias)
SHAPES = [(12, 1, 1, 1, 1, True), (12, 2, 2, 1, 0, True), (6, 2, 1, 2, 2, False),
          (3, 5, 2, 1, 1, True)]  # fmt: skip


def model(
    groups: int, made: int, stride: int, dilation: int, padding: int, bias: bool
) -> nn.Sequential:
    """The grouped convolution stands behind the consumer of a site, and loses no input."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 12, 1), nn.Tanh(),
        nn.Conv2d(12, groups * made, 3, stride, padding, dilation, groups, bias), nn.Flatten(),
    ).double().eval()  # fmt: skip


def batches(size: int = 40) -> list[Batch]:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(160, 3, 7, 8, generator=random, dtype=torch.float64)
    return [
        Batch(args=(x[i],), kwargs={}, labels=None, ids=i) for i in torch.arange(160).split(size)
    ]


def least_squares(layer: nn.Conv2d, x: Tensor, due: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and biases of the least squared error, each group on its own patches."""
    weights, biases = [], []
    for part, z in zip(x.chunk(layer.groups, 1), due.chunk(layer.groups, 1), strict=True):
        patches_RP = F.unfold(
            part, layer.kernel_size, layer.dilation, layer.padding, layer.stride  # pyright: ignore
        ).transpose(1, 2).flatten(0, 1)  # fmt: skip
        z_RD = z.flatten(2).transpose(1, 2).flatten(0, 1)
        if layer.bias is not None:
            patches_RP = F.pad(patches_RP, (0, 1), value=1.0)
        found = torch.linalg.lstsq(patches_RP, z_RD, driver="gelsd").solution.T
        taps = layer.weight[0].numel()
        weights.append(found[:, :taps].reshape(-1, *layer.weight.shape[1:]))
        biases.append(found[:, taps:].flatten())
    return torch.cat(weights), torch.cat(biases)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_each_group_gets_its_least_squares_weights(
    shape: tuple[int, int, int, int, int, bool],
) -> None:
    net, data = model(*shape), batches()
    sites = survey(net, data[0]).sites
    cut = Cut.removing(sites, {"0": [1, 4, 6]})
    settings = Compensation(kind="refit", ridge=1e-14)
    maps = compensate(net, sites, cut, settings, data, seed=0)
    assert list(maps) == ["2", "4"]
    seen: list[Tensor] = []
    with substituted(net, {"2": maps["2"]}), watching_inputs(
        net, ["4"], lambda _, x: seen.append(x.clone())
    ):  # fmt: skip
        for batch in data:
            batch.run(net)
    x = torch.cat([b.args[0] for b in data])
    layer = net[4]
    assert isinstance(layer, nn.Conv2d)

    weight, bias = least_squares(layer, torch.cat(seen), net[:5](x))

    # float64: the covariances' eigenvalues spread over less than 1e4, which the ridge of 1e-14 and
    # rounding of 1e-16 are multiplied by, and the square root of it once more in normal equations
    torch.testing.assert_close(maps["4"].weight, weight, rtol=1e-8, atol=1e-8)
    if layer.bias is None:
        assert maps["4"].bias is None
    else:
        torch.testing.assert_close(maps["4"].bias, bias, rtol=1e-8, atol=1e-8)
    assert (maps["4"].weight - layer.weight).abs().max() > 1e-2  # there was something to make up

    def error(fitted: Affine) -> float:
        with substituted(net, {"2": maps["2"], "4": fitted}):
            small = net(x)
        return float((small - net(x)).square().mean())

    assert error(maps["4"]) < error(Affine(weight=layer.weight, bias=layer.bias))


def test_a_fit_leaves_the_model_and_its_biases_alone() -> None:
    net, data = model(*SHAPES[0]), batches()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    sites = survey(net, data[0]).sites
    compensate(
        net, sites, Cut.removing(sites, {"0": [1, 4]}), Compensation(kind="refit"), data, seed=0
    )
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
