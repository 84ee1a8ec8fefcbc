"""Tiny models of transformers with a tokenizer, made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

WORDS = ["<unk>", "<s>", "</s>", "a", "b", "c", "d", "e"]


@pytest.fixture
def save_tokenizer() -> Callable[[Path], None]:
    """Save one whose words are `WORDS`, which puts <s> before each text, into a folder. It is
    saved with truncation and padding switched on, as some are."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    made.post_processor = processors.TemplateProcessing(  # pyright: ignore
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    made.enable_truncation(3)
    made.enable_padding(length=6)

    def save(folder: Path) -> None:
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
        ).save_pretrained(folder)

    return save


@pytest.fixture
def llama(tmp_path: Path, save_tokenizer: Callable[[Path], None]) -> Path:
    """A folder with a LLaMA of one layer that takes 16 tokens, and its tokenizer."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16,
    )  # fmt: skip
    folder = tmp_path / "llama"
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A folder with a BERT of one layer, without a tokenizer."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=16,
    )  # fmt: skip
    folder = tmp_path / "bert"
    transformers.BertModel(config).save_pretrained(folder)
    return folder
