from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import actprune
from actprune.errors import ActpruneError
from actprune.integrations.watching import path_of_rank
from actprune.running.hashing import model_hash

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from actprune.integrations.huggingface import ActivationCallback  # noqa: E402  # needs the above

STEPS, BATCH = 4, 3


def llama() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def texts() -> list[dict[str, torch.Tensor]]:
    tokens = torch.randint(0, 32, (STEPS * BATCH, 8), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": t, "labels": t} for t in tokens]


def trainer(model: Any, folder: Path, callbacks: list[Any], **options: Any) -> Any:
    args = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH, learning_rate=0.01, report_to=[], save_strategy="no",
        use_cpu=True, disable_tqdm=True, logging_strategy="no", seed=0, **options,
    )  # fmt: skip
    return transformers.Trainer(
        model, args, train_dataset=texts(), eval_dataset=texts(), callbacks=callbacks
    )


def hooks(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_training_is_counted_and_stays_the_same(tmp_path: Path, checkpointed: bool) -> None:
    alone, watched = llama(), llama()
    if checkpointed:
        alone.gradient_checkpointing_enable()
        watched.gradient_checkpointing_enable()
    trainer(alone, tmp_path, []).train()
    path = tmp_path / "p.safetensors"
    watch = ActivationCallback(path, window=2)
    trainer(watched, tmp_path, [watch], eval_strategy="steps", eval_steps=2).train()

    for a, b in zip(alone.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)
    assert hooks(watched) == hooks(alone)
    profile = watch.profile
    assert profile.samples == STEPS * BATCH  # and no evaluation
    assert {s.site.name for s in profile.sites} >= {
        "model.layers.0.mlp.gate_proj",
        "model.layers.1.mlp.gate_proj",
    }
    for site in profile.sites:
        windows = watch.windows.site(site.site.name)
        assert site.positions.sum() == STEPS * BATCH * 8
        assert windows.positions.tolist() == [2 * BATCH * 8] * 2
        np.testing.assert_array_equal(windows.positions_active.sum(0), site.positions_active.sum(0))
    saved = actprune.load_profile(path)
    assert saved.identity == profile.identity
    assert saved.identity.model_hash == model_hash(watched)


def test_evaluation_counts_if_asked(tmp_path: Path) -> None:
    watch = ActivationCallback(evaluation=True, every=2)
    trainer(llama(), tmp_path, [watch], eval_strategy="steps", eval_steps=4).train()
    assert watch.profile.samples == STEPS * BATCH  # half of 4 steps and 4 batches of evaluation


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ActpruneError, match=r"does not have: .*'evry'"):
        ActivationCallback(evry=2)
    with pytest.raises(ActpruneError, match="said by `evaluation`"):
        ActivationCallback(training=True)
    watch = ActivationCallback()
    with pytest.raises(ActpruneError, match="the training has not begun"):
        _ = watch.profile
    args = transformers.TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, torch_compile=True
    )
    with pytest.raises(ActpruneError, match="The Trainer compiles the model"):
        watch.on_train_begin(args, None, None, model=llama())


def test_each_process_writes_a_file_of_its_own() -> None:
    names = [path_of_rank(Path("a/p.safetensors"), rank).name for rank in (0, 1)]
    assert names == ["p.safetensors", "p-rank1.safetensors"]
