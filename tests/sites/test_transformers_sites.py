"""The MLPs of transformers' models, found by what they do: tiny random models of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import as_batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.profiling.collect import profile
from actprune.profiling.store import load_profile, save_profile
from actprune.sites.find import Survey, survey

transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")

LAYERS, WIDTH, HIDDEN, VOCABULARY = 2, 16, 24, 50
TOKENS = torch.randint(3, VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(0))
PIXELS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))

DECODER = {
    "hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
ENCODER = {k: v for k, v in DECODER.items() if k != "num_key_value_heads"}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": VOCABULARY}


def build(model: str, config: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return getattr(transformers, model)(getattr(transformers, config)(**options)).eval()


def llama() -> nn.Module:
    return build("LlamaForCausalLM", "LlamaConfig", **DECODER)


# model, inputs, (name of layer i's first producer, its kind, can it be cut, is it flat)
MODELS: dict[str, tuple[Callable[[], nn.Module], Any, str, str, bool, bool]] = {
    "llama": (llama, TOKENS, "model.layers.{}.mlp.gate_proj", "gated", True, False),
    "qwen3": (
        lambda: build("Qwen3ForCausalLM", "Qwen3Config", **DECODER, head_dim=4),
        TOKENS, "model.layers.{}.mlp.gate_proj", "gated", True, False,
    ),
    "phi3": (
        lambda: build("Phi3ForCausalLM", "Phi3Config", **DECODER),
        TOKENS, "model.layers.{}.mlp.gate_up_proj", "gated", True, False,
    ),
    "t5, gated": (
        lambda: build(
            "T5EncoderModel", "T5Config", d_model=WIDTH, d_ff=HIDDEN, d_kv=4, num_layers=LAYERS,
            num_heads=4, vocab_size=VOCABULARY, feed_forward_proj="gated-gelu",
        ),
        TOKENS, "encoder.block.{}.layer.1.DenseReluDense.wi_0", "gated", True, False,
    ),
    "modernbert": (
        lambda: build("ModernBertModel", "ModernBertConfig", **ENCODER, cls_token_id=3,
                      sep_token_id=4),
        TOKENS, "layers.{}.mlp.Wi", "gated", True, False,
    ),
    "gpt2": (
        lambda: build("GPT2LMHeadModel", "GPT2Config", n_embd=WIDTH, n_inner=HIDDEN,
                      n_layer=LAYERS, n_head=4, **SPECIAL),
        TOKENS, "transformer.h.{}.mlp.c_fc", "linear", False, False,
    ),
    "gpt-neox": (
        lambda: build("GPTNeoXForCausalLM", "GPTNeoXConfig", **ENCODER),
        TOKENS, "gpt_neox.layers.{}.mlp.dense_h_to_4h", "linear", True, False,
    ),
    "opt": (
        lambda: build(
            "OPTForCausalLM", "OPTConfig", hidden_size=WIDTH, ffn_dim=HIDDEN,
            num_hidden_layers=LAYERS, num_attention_heads=4, max_position_embeddings=32,
            word_embed_proj_dim=WIDTH, **SPECIAL,
        ),
        TOKENS, "model.decoder.layers.{}.fc1", "linear", False, True,
    ),
    "bert": (
        lambda: build("BertModel", "BertConfig", **ENCODER),
        TOKENS, "encoder.layer.{}.intermediate.dense", "linear", True, False,
    ),
    "vit": (
        lambda: build(
            "ViTForImageClassification", "ViTConfig", hidden_size=WIDTH, intermediate_size=HIDDEN,
            num_hidden_layers=LAYERS, num_attention_heads=4, image_size=8, patch_size=4,
        ),
        PIXELS, "vit.layers.{}.mlp.fc1", "linear", True, False,
    ),
}  # fmt: skip


def as_inputs(x: Tensor) -> Any:
    return {"input_ids": x} if x.dtype == torch.int64 else x


def look(model: nn.Module, x: Tensor) -> Survey:
    return survey(model, as_batch(as_inputs(x), 0))


@pytest.mark.parametrize(
    ("make", "x", "name", "kind", "cut", "flat"), MODELS.values(), ids=MODELS.keys()
)
def test_every_mlp_is_one_site(
    make: Callable[[], nn.Module], x: Tensor, name: str, kind: str, cut: bool, flat: bool
) -> None:
    found = look(make(), x)
    assert [(s.name, s.kind, s.units) for s in found.sites] == [
        (name.format(i), kind, HIDDEN) for i in range(LAYERS)
    ]
    assert {s.obstacle is None for s in found.sites} == {cut}
    assert {s.flat for s in found.sites} == {flat}


def test_experts_that_are_no_layers_are_no_sites_and_are_counted() -> None:
    model = build("MixtralForCausalLM", "MixtralConfig", **DECODER, num_local_experts=4)
    found = look(model, TOKENS)
    assert found.sites == ()
    # by hand, a token: q, k, v, o; scores and sums of 6 tokens by 4 heads of 4; the router; two
    # of four experts; the head
    layer = 2 * 16 * 16 + 2 * 16 * 8 + 2 * 6 * 16 + 16 * 4 + 2 * 3 * 16 * 24
    assert found.census.macs == 6 * (LAYERS * layer + 16 * VOCABULARY)


def test_the_census_of_a_language_model_is_that_by_hand() -> None:
    model = llama()
    census = look(model, TOKENS).census
    layer = 2 * 16 * 16 + 2 * 16 * 8 + 2 * 6 * 16 + 3 * 16 * 24
    assert census.macs == 6 * (LAYERS * layer + 16 * VOCABULARY)
    assert census.params == sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module")
def documents() -> Arrays:
    x = torch.randint(3, VOCABULARY, (40, 6), generator=torch.Generator().manual_seed(2))
    return Arrays.of(x, spec="mine")


def test_the_profile_of_a_language_model_counts_what_hooks_count(documents: Arrays) -> None:
    model = llama()

    found = profile(model, documents, rule="magnitude:0.5", batch_size=8)

    assert [s.site.name for s in found.sites] == [
        f"model.layers.{i}.mlp.gate_proj" for i in range(LAYERS)
    ]
    positions = [torch.zeros(HIDDEN, dtype=torch.int64) for _ in range(LAYERS)]
    samples = [torch.zeros(HIDDEN, dtype=torch.int64) for _ in range(LAYERS)]

    def count(i: int) -> Any:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            active_STU = args[0].abs() > found.sites[i].rule.threshold
            positions[i] += active_STU.sum((0, 1))
            samples[i] += active_STU.any(1).sum(0)

        return hook

    for i in range(LAYERS):
        down = model.get_submodule(f"model.layers.{i}.mlp.down_proj")
        down.register_forward_pre_hook(count(i))
    with torch.no_grad():
        for batch in documents.batches(8):
            batch.run(model)
    for i, stats in enumerate(found.sites):
        assert 0 < int(positions[i].sum()) < 40 * 6 * HIDDEN
        assert stats.positions_active.sum(0).tolist() == positions[i].tolist()
        assert stats.samples_active.sum(0).tolist() == samples[i].tolist()


def test_flat_sites_are_profiled_sample_by_sample(documents: Arrays) -> None:
    model = MODELS["opt"][0]()

    found = profile(model, documents, rule="positive", batch_size=40)

    read: list[Tensor] = []
    fc2 = model.get_submodule("model.decoder.layers.0.fc2")
    fc2.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    with torch.no_grad():
        model(documents.inputs[0])
    active_STU = (read[0] > 0).unflatten(0, (40, 6))
    assert found.sites[0].samples_active.sum(0).tolist() == active_STU.any(1).sum(0).tolist()
    assert found.sites[0].positions_active.sum(0).tolist() == active_STU.sum((0, 1)).tolist()


def test_a_profile_of_watched_sites_is_saved_whole(documents: Arrays, tmp_path: Path) -> None:
    found = profile(MODELS["gpt2"][0](), documents)
    save_profile(found, tmp_path / "p.safetensors")
    again = load_profile(tmp_path / "p.safetensors")
    assert [s.site for s in again.sites] == [s.site for s in found.sites]
    assert again.sites[0].site.obstacle is not None


def test_sites_that_can_only_be_watched_give_no_plan(documents: Arrays) -> None:
    model = MODELS["gpt2"][0]()
    with pytest.raises(ActpruneError) as e:
        plan(model, profile(model, documents), "units=50%", criterion="rare")
    assert str(e.value) == (
        "The sites of this model can be watched but not cut (transformer.h.0.mlp.c_fc: "
        "transformer.h.0.mlp.c_fc is a Conv1D; only Linear is supported so far; and 1 more); "
        "--explain lists them all."
    )
