"""What is pruned from a model of transformers is loaded again by transformers alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import actprune
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.loading.model import load_model

transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")

SIZES = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0,
}  # fmt: skip
CASES = {
    "llama": ("Llama", "none", {}, {}),
    "llama, refitted": ("Llama", "refit", {"tie_word_embeddings": True}, {"mlp_bias": True}),
    "qwen3": ("Qwen3", "none", {"head_dim": 4}, {}),
    "phi3": ("Phi3", "none", {}, {}),
}
ELSEWHERE = """
import json, sys, torch
sys.modules["actprune"] = None
from pathlib import Path
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
torch.set_num_threads(1)
x = torch.arange(3, 45).reshape(3, 14)
models = {n: AutoModelForCausalLM.from_pretrained(f, local_files_only=True)
          for n, f in json.loads(sys.argv[1]).items()}
del sys.modules["actprune"]
import actprune
models["saved"] = actprune.load(sys.argv[2])
with torch.no_grad():
    save_file({n: m(x).logits for n, m in models.items()}, sys.argv[3])
"""


def build(kind: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SIZES, **options)
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


def data() -> Arrays:
    x = torch.randint(3, 50, (60, 8), generator=torch.Generator().manual_seed(0))
    return Arrays.of(x, spec="mine")


def pruned(model: nn.Module, compensate: Any, target: str = "units=50%", **o: Any) -> nn.Module:
    made = actprune.plan(
        model, actprune.profile(model, data()), target, criterion="magnitude",
        compensation=actprune.Compensation(kind=compensate), batches=data(), probes=False, **o,
    )  # fmt: skip
    return actprune.prune(model, made, batches=data())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Written:
    """Logits of pruned models and of the dense ones, here and in a fresh process, by name."""

    small: dict[str, Tensor]
    dense: dict[str, Tensor]
    elsewhere: dict[str, Tensor]
    changes: dict[str, Any]


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    return model(torch.arange(3, 45).reshape(3, 14)).logits


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Each case saved for transformers, and a LLaMA of a folder of its own saved by `prune`."""
    root: Path = tmp_path_factory.mktemp("pretrained")
    dense = {name: build(kind, **options) for name, (kind, _, options, _) in CASES.items()}
    small = {name: pruned(dense[name], CASES[name][1]) for name in CASES}
    folders = {name: str(root / name) for name in CASES}
    changes = {n: actprune.save_pretrained(small[n], folders[n], data()) for n in CASES}
    source: Any = build("Llama", tie_word_embeddings=True)
    source.save_pretrained(root / "source")
    loaded = load_model(f"hf:{root / 'source'}")
    dense["saved"] = loaded.model
    seen = actprune.profile(loaded.model, data(), spec=loaded.spec)
    made = actprune.plan(loaded.model, seen, "units=50%", batches=data(), probes=False)
    small["saved"] = actprune.prune(loaded.model, made, batches=data())
    (root / "pruned").mkdir()
    actprune.save_pruned(small["saved"], loaded.model, made, root / "pruned")
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(folders), root / "pruned", root / "y"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Written(
        small={n: logits(m) for n, m in small.items()},
        dense={n: logits(m) for n, m in dense.items()},
        elsewhere=load_file(root / "y"),
        changes=changes,
    )


@pytest.mark.parametrize("name", CASES)
def test_transformers_alone_loads_the_same_model(name: str, written: Written) -> None:
    assert written.changes[name] == {"intermediate_size": 12, **CASES[name][3]}
    # float32 sums of some tens of terms of order 1, perhaps in another order
    torch.testing.assert_close(written.elsewhere[name], written.small[name], rtol=0, atol=1e-5)
    assert (written.small[name] - written.dense[name]).abs().max() > 1e-3


def test_a_folder_of_our_own_loads_in_a_fresh_process(written: Written) -> None:
    # as above: the threads may differ
    torch.testing.assert_close(
        written.elsewhere["saved"], written.small["saved"], rtol=0, atol=1e-5
    )
    assert (written.small["saved"] - written.dense["saved"]).abs().max() > 1e-3


def test_layers_of_several_widths_are_refused(tmp_path: Path) -> None:
    small = pruned(build("Llama"), "none", "macs=90%", least={"*layers.0*": 20})
    with pytest.raises(ActpruneError, match=r"Of 24 units layers keep \d+, 20, but a config"):
        actprune.save_pretrained(small, tmp_path / "stock", data())
    assert list(tmp_path.iterdir()) == []


def test_a_bias_without_a_switch_is_refused(tmp_path: Path) -> None:
    small = pruned(build("Qwen3", head_dim=4), "mean")
    with pytest.raises(ActpruneError, match=r"no entry for the new bias model\.layers\.0\.mlp\.d"):
        actprune.save_pretrained(small, tmp_path / "stock", data())


def test_other_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ActpruneError, match="Linear is no model of transformers"):
        actprune.save_pretrained(nn.Linear(2, 2), tmp_path / "stock", data())
