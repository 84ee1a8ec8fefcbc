from __future__ import annotations

import copy

import pytest
import torch
from site_models import VECTORS, mlp
from torch import nn
from torch.ao.quantization import quantize_dynamic

from actprune.data.batch import as_batch
from actprune.profiling.collect import profile
from actprune.running.hashing import model_hash
from actprune.sites.find import survey

REMEDY = "is quantized; prune the float model, and quantize what comes out"


class Packed(nn.Parameter):
    """As the parameters of torchao and bitsandbytes: a class of their own."""


def packed() -> nn.Module:
    model = mlp()
    model[2]._parameters["weight"] = Packed(model[2].weight.data)  # pyright: ignore
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_quantized_layers_are_refused_one_by_one() -> None:
    model = quantize_dynamic(mlp().eval(), {nn.Linear})
    found = survey(model, as_batch(VECTORS, 0))
    assert found.sites == ()
    reasons = {r.layer: r.reason for r in found.refusals}
    assert reasons == {n: f"{n} (Linear) {REMEDY}" for n in ("0", "2", "4")}
    assert profile(model, VECTORS).sites == ()


def test_a_site_ends_where_its_consumer_is_quantized() -> None:
    found = survey(packed(), as_batch(VECTORS, 0))
    assert [s.name for s in found.sites if s.obstacle is None] == []
    said = {s.name: s.obstacle for s in found.sites} | {r.layer: r.reason for r in found.refusals}
    assert said["0"] == said["2"] == f"2 (Packed) {REMEDY}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_hash_sees_quantized_weights() -> None:
    torch.manual_seed(0)
    model = mlp().eval()
    other = copy.deepcopy(model)
    other.get_parameter("2.weight").data *= -1
    hashes = {
        model_hash(quantize_dynamic(m, {nn.Linear})) for m in (model, copy.deepcopy(model), other)
    }
    assert len(hashes) == 2
