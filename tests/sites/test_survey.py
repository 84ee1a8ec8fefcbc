from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from site_models import (
    IMAGES,
    TOKENS,
    VECTORS,
    Model,
    concatenated,
    conv,
    encoder,
    flattened_cnn,
    mlp,
    normed_cnn,
    residual,
)
from torch import Tensor, nn
from torch.nn.utils.prune import random_unstructured

from actprune.data.batch import as_batch
from actprune.errors import ActpruneError
from actprune.running.hashing import model_hash
from actprune.sites.find import Survey, survey

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


def look(model: nn.Module, raw: Any) -> Survey:
    """The survey, after checking that it leaves no trace and no layer out."""
    before = (
        model_hash(model),
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        [id(t) for t in (*model.parameters(), *model.buffers())],
        torch.get_rng_state().tolist(),
    )
    found = survey(model, as_batch(raw, 0))
    assert before == (
        model_hash(model),
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        [id(t) for t in (*model.parameters(), *model.buffers())],
        torch.get_rng_state().tolist(),
    )
    layers = [n for n, m in model.named_modules() if isinstance(m, LAYERS)]
    named = [s.name for s in found.sites] + [r.layer for r in found.refusals]
    assert sorted(named) == sorted(layers)
    return found


def names(found: Survey) -> list[str]:
    """Of the sites that can be cut."""
    return [s.name for s in found.sites if s.obstacle is None]


def reason(found: Survey, layer: str) -> str:
    texts = [r.reason for r in found.refusals if r.layer == layer]
    (text,) = texts + [s.obstacle for s in found.sites if s.name == layer and s.obstacle]
    return text


def slots(found: Survey, name: str) -> list[tuple[str, str, int, int]]:
    (site,) = (s for s in found.sites if s.name == name)
    return [(s.module, s.role, s.offset, s.repeat) for s in site.slots]


def test_an_mlp_has_a_site_per_hidden_layer() -> None:
    found = look(mlp(), VECTORS)

    assert [(s.name, s.kind, s.units) for s in found.sites] == [
        ("0", "linear", 8),
        ("2", "linear", 6),
    ]
    assert slots(found, "0") == [("0", "producer", 0, 1), ("2", "consumer", 0, 1)]
    assert reason(found, "4") == "no layer reads its units: they are the model's output"


def test_a_normalization_between_belongs_to_the_site() -> None:
    found = look(normed_cnn(), IMAGES)
    assert slots(found, "0") == [
        ("0", "producer", 0, 1),
        ("1", "norm", 0, 1),
        ("3", "consumer", 0, 1),
    ]
    assert found.sites[0].kind == "conv"


def test_flattened_channels_repeat_by_height_times_width() -> None:
    found = look(flattened_cnn(), IMAGES)
    assert names(found) == ["0", "4", "8"]
    assert slots(found, "4")[-1] == ("8", "consumer", 0, 16)
    assert [s.norms_after for s in found.sites] == [("5",), ("9",), ()]


def test_the_inside_of_a_residual_block_is_a_site_and_so_is_the_stream() -> None:
    found = look(residual(), IMAGES)
    assert [(s.name, s.kind) for s in found.sites] == [("stem", "residual"), ("conv1", "conv")]
    assert found.sites[1].norms_after == ("norm2",)
    assert slots(found, "stem") == [
        ("stem", "producer", 0, 1),
        ("conv2", "producer", 0, 1),
        ("norm2", "norm", 0, 1),
        ("conv1", "consumer", 0, 1),
        ("head", "consumer", 0, 1),
    ]
    assert reason(found, "conv2") == "it makes the units of site stem together with that layer"


def test_concatenated_layers_are_two_sites_with_offsets_in_one_consumer() -> None:
    found = look(concatenated(), IMAGES)
    assert slots(found, "a")[-1] == ("c", "consumer", 0, 1)
    assert slots(found, "b")[-1] == ("c", "consumer", 4, 1)


def test_the_feed_forward_part_of_a_transformer_layer_is_a_site() -> None:
    found = look(encoder(), TOKENS)
    assert names(found) == ["0.linear1"]
    assert reason(found, "0.self_attn.out_proj") == (
        "0.self_attn.out_proj runs 0 times in one forward pass"
    )


def test_sites_come_in_the_order_in_which_their_consumers_run() -> None:
    model = Model(
        lambda m, x: m.a(F.relu(m.b(F.relu(m.c(F.relu(m.d(x))))))),
        a=nn.Linear(4, 2), b=nn.Linear(5, 4), c=nn.Linear(6, 5), d=nn.Linear(10, 6),
    )  # fmt: skip
    assert names(look(model, VECTORS)) == ["d", "c", "b"]


def act(m: Any, x: Tensor) -> Tensor:
    return m.o(F.relu(m.a(x)))


def linear(units: int = 8) -> dict[str, nn.Module]:
    return {"a": nn.Linear(10, units), "o": nn.Linear(units, 4)}


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 10), nn.Linear(10, 2))
    model[2].weight = model[0].weight
    return model


def scaled_by_a_parameter() -> nn.Module:
    model = Model(lambda m, x: m.o(F.relu(m.a(x) * m.scale)), **linear())
    model.scale = nn.Parameter(torch.ones(8))
    return model


def into_a_matrix() -> nn.Module:
    model = Model(lambda m, x: F.linear(F.relu(m.a(x)), m.matrix), a=nn.Linear(10, 8))
    model.matrix = nn.Parameter(torch.randn(3, 8))
    return model


def pruned_by_mask() -> nn.Module:
    model = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))
    random_unstructured(model[0], "weight", 0.5)
    return model


class Doubling(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Blur(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.ones(channels, 1, 3, 3) / 9)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, groups=self.channels, padding=1)  # pyright: ignore


def attend(m: Any, x: Tensor) -> Tensor:
    weights = torch.softmax(x @ x.transpose(1, 2), -1)
    return m.o(weights @ F.relu(m.a(x)))


# (model, inputs, layer, part of the reason)
REFUSED: dict[str, tuple[Callable[[], nn.Module], Any, str, str]] = {
    "depthwise": (
        lambda: nn.Sequential(conv(3, 4), conv(4, 4, groups=4), conv(4, 2)),
        IMAGES, "1", "its channels are cut with the units of site 0",
    ),
    "depthwise on the images": (
        lambda: nn.Sequential(conv(3, 3, groups=3), conv(3, 2)),
        IMAGES, "0", "it is a grouped convolution, whose groups are cut with its inputs",
    ),
    "depthwise with a multiplier": (
        lambda: nn.Sequential(conv(3, 4), conv(4, 8, groups=4), conv(8, 2)),
        IMAGES, "1", "its channels are cut with the units of site 0",
    ),
    "grouped": (
        lambda: nn.Sequential(conv(3, 4), conv(4, 6, groups=2), conv(6, 2)),
        IMAGES, "1", "its channels are cut with the units of site 0",
    ),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(10, 8), nn.LayerNorm(8), nn.Linear(8, 3)),
        VECTORS, "0", "1 (LayerNorm) mixes its units",
    ),
    "group norm": (
        lambda: nn.Sequential(conv(3, 4), nn.GroupNorm(2, 4), conv(4, 2)),
        IMAGES, "0", "1 (GroupNorm) mixes its units",
    ),
    "softmax": (
        lambda: nn.Sequential(nn.Linear(10, 8), nn.Softmax(-1), nn.Linear(8, 3)),
        VECTORS, "0", "reach the output by another way than 2",
    ),
    "functional layer norm": (
        lambda: Model(lambda m, x: m.o(F.normalize(m.a(x), dim=-1)), **linear()),
        VECTORS, "a", "reach the output by another way than o",
    ),
    "shared weights": (tied, VECTORS, "0", "0 shares a parameter with another layer"),
    "called twice": (
        lambda: Model(
            lambda m, x: m.o(F.relu(m.a(F.relu(m.a(x))))), a=nn.Linear(10, 10), o=nn.Linear(10, 4)
        ),
        VECTORS, "a", "a runs 2 times in one forward pass",
    ),
    "never called": (
        lambda: Model(act, **linear(), idle=nn.Linear(3, 3)),
        VECTORS, "idle", "idle runs 0 times in one forward pass",
    ),
    "bare parameter": (scaled_by_a_parameter, VECTORS, "a", "coupled with a bare parameter"),
    "functional consumer": (into_a_matrix, VECTORS, "a", "its units are the model's output"),
    "weight norm": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(10, 8)), nn.ReLU(), nn.Linear(8, 3)
        ),
        VECTORS, "0", "the weight of 0 is parametrized; remove the parametrization",
    ),
    "consumer with weight norm": (
        lambda: nn.Sequential(
            nn.Linear(10, 8), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(8, 3))
        ),
        VECTORS, "0", "the weight of 2 is parametrized",
    ),
    "mask": (pruned_by_mask, VECTORS, "0", "the weight of 0 is computed from other tensors"),
    "own forward": (
        lambda: nn.Sequential(nn.Linear(10, 8), nn.ReLU(), Doubling(8, 3)),
        VECTORS, "0", "2 (Doubling) has a forward of its own",
    ),
    "conv1d": (
        lambda: nn.Sequential(nn.Conv1d(7, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 3)),
        TOKENS, "0", "0 is a Conv1d; only Conv2d is supported so far",
    ),
    "conv3d": (
        lambda: nn.Sequential(nn.Conv3d(3, 4, 1), nn.Flatten(), nn.Linear(256, 2)),
        IMAGES[..., None], "0", "0 is a Conv3d; only Conv2d is supported so far",
    ),
    "transposed convolution": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3)),
        IMAGES, "0", "coupled with 2 (ConvTranspose2d)",
    ),
    "reflecting padding": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 2, padding_mode="reflect")),
        IMAGES, "0", "2 pads by 'reflect'; only 'zeros' is supported",
    ),
    "into a gru": (
        lambda: Model(
            lambda m, x: m.o(m.g(F.relu(m.a(x)))[0]),
            a=nn.Linear(10, 6), g=nn.GRU(6, 6, batch_first=True), o=nn.Linear(6, 3),
        ),
        TOKENS, "a", "its units are coupled with a bare parameter of the model",
    ),
    "single unit": (
        lambda: nn.Sequential(nn.Linear(10, 1), nn.ReLU(), nn.Linear(1, 3)),
        VECTORS, "0", "it has a single unit",
    ),
    "the model itself": (lambda: nn.Linear(10, 3), VECTORS, "", "they are the model's output"),
    "halves": (
        lambda: Model(
            lambda m, x: m.o(m.a(x)[:, :4] * m.a.bias[0]), a=nn.Linear(10, 8), o=nn.Linear(4, 3)
        ),
        VECTORS, "a", "its units are not laid out one after another in o",
    ),
    "concatenated with itself": (
        lambda: Model(
            lambda m, x: (lambda h: m.o(torch.cat([h, h], 1)))(m.a(x)),
            a=nn.Linear(10, 8), o=nn.Linear(16, 3),
        ),
        VECTORS, "a", "its units are not laid out one after another in o",
    ),
    "flattened after a concatenation": (  # torch-pruning takes the two for a sum
        lambda: Model(
            lambda m, x: m.o(torch.cat([m.a(x), m.b(x)], 1).flatten(1)),
            a=conv(3, 4), b=conv(3, 5), o=nn.Linear(9 * 64, 2),
        ),
        IMAGES, "a", "its units reach the output by another way than o",
    ),
    "pixel shuffle": (
        lambda: nn.Sequential(conv(3, 8), nn.PixelShuffle(2), conv(2, 4)),
        IMAGES, "0", "its units are rearranged on the way to 2",
    ),
    "channels last before flattening": (
        lambda: Model(
            lambda m, x: m.o(m.a(x).permute(0, 2, 3, 1).flatten(1)),
            a=conv(3, 6), o=nn.Linear(384, 4),
        ),
        IMAGES, "a", "reach the output by another way than o",
    ),
    "transposed to an axis of the same length": (
        lambda: Model(
            lambda m, x: m.o(F.relu(m.a(x)).transpose(1, 2)).mean((1, 2)),
            a=conv(3, 8), o=nn.Linear(8, 4),
        ),
        IMAGES, "a", "reach the output by another way than o",
    ),
    "mixing tokens": (
        lambda: Model(
            lambda m, x: m.o(F.relu(m.a(x)).transpose(1, 2)).mean(1),
            a=nn.Linear(10, 7), o=nn.Linear(7, 4),
        ),
        TOKENS, "a", "reach the output by another way than o",
    ),
    "second output": (
        lambda: Model(lambda m, x: (lambda h: (m.o(h), h))(F.relu(m.a(x))), **linear()),
        VECTORS, "a", "reach the output by another way than o",
    ),
    "fixed width in a view": (
        lambda: Model(
            lambda m, x: m.o(F.max_pool2d(F.relu(m.a(x)), 2).view(-1, 6 * 16)),
            a=conv(3, 6), o=nn.Linear(96, 4),
        ),
        IMAGES, "a", "the model's code fixes their number (RuntimeError: shape '[-1, 96]'",
    ),
    "fixed number of heads": (
        lambda: Model(
            lambda m, x: m.o(F.relu(m.a(x)).reshape(-1, 7, 4, 2).flatten(2)),
            a=nn.Linear(10, 8), o=nn.Linear(8, 4),
        ),
        TOKENS, "a", "the model's code fixes their number (RuntimeError: shape '[-1, 7, 4, 2]'",
    ),
    "fixed depthwise blur": (
        lambda: nn.Sequential(conv(3, 8), nn.ReLU(), Blur(8), conv(8, 4)),
        IMAGES, "0", "the model's code fixes their number (RuntimeError: Given groups=8",
    ),
    "attention over the units' rows": (
        lambda: Model(attend, **linear()),
        TOKENS, "a", "operations without weights work on them",
    ),
    "sequence first": (
        lambda: Model(lambda m, x: act(m, x.transpose(0, 1)).transpose(0, 1), **linear()),
        TOKENS, "a", "the first axis of what o reads is not the samples",
    ),
    "sequence first, as long as the batch": (
        lambda: Model(lambda m, x: act(m, x.transpose(0, 1)).transpose(0, 1), **linear()),
        TOKENS[:, :2], "a", "the first axis of what o reads is not the samples",
    ),
    "tokens as rows": (
        lambda: Model(lambda m, x: act(m, x.reshape(-1, 10)).reshape(-1, 7, 4), **linear()),
        TOKENS, "a", "the first axis of what o reads is not the samples",
    ),
    "input by keyword": (
        lambda: Model(lambda m, x: m.o(input=F.relu(m.a(x))), **linear()),
        VECTORS, "a", "o is given its input by keyword",
    ),
    "integer output": (
        lambda: Model(lambda m, x: act(m, x).argmax(-1), **linear()),
        VECTORS, "a", "torch-pruning cannot trace this model (ActpruneError: The model's output",
    ),
    "values turned into numpy": (  # fails with gradients on, which the trace needs
        lambda: Model(lambda m, x: act(m, x) + float(m.a(x).numpy().sum()), **linear()),
        VECTORS, "a", "torch-pruning cannot trace this model (RuntimeError: Can't call numpy()",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "raw", "layer", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_cut_is_refused_with_a_reason(
    build: Callable[[], nn.Module], raw: Any, layer: str, why: str
) -> None:
    torch.manual_seed(0)
    found = look(build(), raw)
    assert layer not in names(found)
    assert why in reason(found, layer)


def test_nothing_is_found_where_all_weights_are_functional() -> None:
    model = Model(lambda m, x: F.linear(F.relu(F.linear(x, m.a)), m.b))
    model.a, model.b = nn.Parameter(torch.randn(8, 10)), nn.Parameter(torch.randn(3, 8))
    found = look(model, VECTORS)
    assert found.sites == ()
    assert found.refusals == ()


FOUND: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "channels last into a linear layer": (
        lambda: Model(
            lambda m, x: m.o(F.relu(m.a(x)).permute(0, 2, 3, 1)), a=conv(3, 6), o=nn.Linear(6, 4)
        ),
        IMAGES, "a",
    ),
    "tokens as long as the units": (lambda: Model(act, **linear(7)), TOKENS, "a"),
    "upsampled": (
        lambda: nn.Sequential(conv(3, 6), nn.ReLU(), nn.Upsample(scale_factor=2), conv(6, 3)),
        IMAGES, "0",
    ),
    "behind a gru": (
        lambda: Model(
            lambda m, x: act(m, m.g(x)[0]), g=nn.GRU(10, 10, batch_first=True), **linear()
        ),
        TOKENS, "a",
    ),
    "behind attention": (
        lambda: Model(
            lambda m, x: act(m, m.m(x, x, x)[0]),
            m=nn.MultiheadAttention(10, 2, batch_first=True), **linear(),
        ),
        TOKENS, "a",
    ),
    "beside a dead end": (
        lambda: Model(lambda m, x: (m.p(x).detach(), act(m, x))[1], **linear(), p=nn.Linear(10, 2)),
        VECTORS, "a",
    ),
    "dict output": (lambda: Model(lambda m, x: {"logits": act(m, x)}, **linear()), VECTORS, "a"),
    "keyword inputs": (
        lambda: Model(lambda m, *, ids: act(m, ids), **linear()),
        {"ids": VECTORS, "labels": torch.zeros(4)}, "a",
    ),
    "two inputs": (lambda: Model(lambda m, x, y: act(m, x + y), **linear()), (VECTORS,) * 3, "a"),
    "one sample": (lambda: Model(act, **linear()), VECTORS[:1], "a"),
    "one unit left": (lambda: Model(act, **linear(2)), VECTORS, "a"),
    "bfloat16": (lambda: Model(act, **linear()).bfloat16(), VECTORS.bfloat16(), "a"),
    "float64": (lambda: Model(act, **linear()).double(), VECTORS.double(), "a"),
    "masked logits": (
        lambda: Model(
            lambda m, x: act(m, x).masked_fill(torch.tensor([True, False, False, False]), -1e400),
            **linear(),
        ),
        VECTORS, "a",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "raw", "site"), FOUND.values(), ids=FOUND.keys())
def test_what_can_be_cut_is_found(build: Callable[[], nn.Module], raw: Any, site: str) -> None:
    torch.manual_seed(0)
    assert names(look(build(), raw)) == [site]


@pytest.mark.parametrize("build", [mlp, normed_cnn, flattened_cnn, residual, concatenated])
def test_frozen_parameters_training_and_gradient_modes_change_nothing(
    build: Callable[[], nn.Module],
) -> None:
    torch.manual_seed(0)
    model = build()
    raw = VECTORS if build is mlp else IMAGES
    expected = look(model, raw)
    model.requires_grad_(False)
    assert look(model, raw) == expected
    assert look(model.eval(), raw) == expected
    next(model.parameters()).requires_grad_(True)
    assert look(model.train(), raw) == expected
    with torch.no_grad():
        assert look(model, raw) == expected
    with torch.inference_mode():
        assert look(model, raw) == expected
        inference = raw.clone()
    assert look(model, inference) == expected


def test_a_model_that_cannot_run_says_what_it_was_given() -> None:
    with pytest.raises(ActpruneError, match=r"cannot run on the data: inputs of shape \[\(2, 10\)"):
        survey(nn.Linear(11, 3), as_batch(VECTORS, 0))
    with pytest.raises(ActpruneError, match=r"inputs of shape \[\(2, 10\)\] .* TypeError"):
        survey(nn.Linear(10, 3), as_batch({"wrong": VECTORS}, 0))


def test_a_failing_trace_leaves_no_hooks_behind() -> None:
    class Fragile(nn.Module):
        """Runs without gradients only."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(10, 4)

        def forward(self, x: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                raise RuntimeError("not with gradients")
            return self.fc(x)

    model = Fragile()
    assert reason(look(model, VECTORS), "fc") == (
        "torch-pruning cannot trace this model (RuntimeError: not with gradients)"
    )
