from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from actprune.errors import ActpruneError
from actprune.loading import hub
from actprune.loading.model import build_model, load_model
from actprune.running.hashing import model_hash

transformers = pytest.importorskip("transformers")


def error(spec: str) -> str:
    with pytest.raises(ActpruneError) as e:
        load_model(spec)
    assert "\n" not in str(e.value)
    return str(e.value)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_gives_the_class_that_its_config_names_in_float32(llama: Path, bert: Path) -> None:
    loaded = load_model(f"hf:{llama}")
    assert type(loaded.model) is transformers.LlamaForCausalLM
    assert not loaded.model.training
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert (loaded.spec, loaded.notes) == (f"hf:{llama}", ())
    logits = loaded.model(torch.tensor([[1, 3, 4]])).logits
    assert logits.shape == (1, 3, 8)
    assert type(load_model(f"hf:{bert}").model) is transformers.BertModel


def test_the_weights_are_those_of_the_file_and_the_random_state_stays(llama: Path) -> None:
    state = torch.get_rng_state()
    first = load_model(f"hf:{llama}").model
    assert model_hash(first) == model_hash(load_model(f"hf:{llama}").model)
    blank = build_model(f"hf:{llama}")
    assert torch.equal(torch.get_rng_state(), state)
    assert type(blank) is type(first)
    assert not blank.training
    assert model_hash(blank) != model_hash(first)
    again = load_model(f"hf:{llama}", llama / "model.safetensors")
    assert model_hash(again.model) == model_hash(first)
    assert again.notes[0].endswith("to the model's float32.")


def test_the_forecast_can_differentiate_forward_through_it(llama: Path) -> None:
    model = load_model(f"hf:{llama}").model
    x = torch.randn(1, 4, 8)
    tangent = torch.func.jvp(lambda x: model(inputs_embeds=x).logits, (x,), (torch.ones_like(x),))[
        1
    ]
    assert tangent.shape == (1, 4, 8)


def test_it_comes_with_its_tokenizer_and_what_it_takes(llama: Path, bert: Path) -> None:
    tokenizer = load_model(f"hf:{llama}").tokenizer()
    assert (tokenizer.positions, tokenizer.vocabulary) == (16, 8)
    assert tokenizer.encode(["a b a b a b a", "what"]) == [[1, 3, 4, 3, 4, 3, 4, 3], [1, 0]]
    with pytest.raises(ActpruneError) as e:
        load_model(f"hf:{bert}").tokenizer()
    assert str(e.value) == (
        f"hf:{bert}: the folder has no tokenizer, so text cannot be read; save it there "
        f"(tokenizer.json), or give token ids as npz:FILE."
    )


def test_weights_that_the_model_does_not_use_are_said(bert: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(bert / "model.safetensors")
    save_file(state | {"extra.weight": torch.ones(1)}, bert / "model.safetensors", {"format": "pt"})
    assert load_model(f"hf:{bert}").notes == (
        f"hf:{bert}: weights not used by the model: extra.weight.",
    )


def test_weights_that_are_missing_are_refused(bert: Path) -> None:
    edit(bert, architectures=["BertForSequenceClassification"])
    assert error(f"hf:{bert}") == (
        f"hf:{bert}: the weights of classifier.bias, classifier.weight are not in the file; give "
        f"the weights of BertForSequenceClassification, or correct 'architectures' in config.json."
    )


def test_code_that_comes_with_a_model_is_not_run(bert: Path) -> None:
    (bert / "modeling.py").write_text("raise SystemExit('was run')\n")
    edit(bert, architectures=["Own"], auto_map={"AutoModel": "modeling.Own"})
    assert f"hf:{bert}: transformers" in error(f"hf:{bert}")
    assert "code that comes with a model is not run" in error(f"hf:{bert}")
    edit(bert, model_type="own", auto_map={"AutoConfig": "modeling.Config"})
    assert "needs code of its own, which is not run" in error(f"hf:{bert}")


def test_pickled_weights_are_not_read(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    assert error(f"hf:{bert}") == (
        f"hf:{bert}: the folder has no model.safetensors, only weights that would have to be "
        f"unpickled, which are not read; write them anew with save_pretrained."
    )


def test_quantized_weights_are_not_cut(bert: Path) -> None:
    edit(bert, quantization_config={"quant_method": "gptq", "bits": 4})
    assert "the weights are quantized" in error(f"hf:{bert}")


def test_damaged_and_incomplete_folders(bert: Path, tmp_path: Path) -> None:
    weights = bert / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert error(f"hf:{bert}").startswith(f"hf:{bert}: cannot be loaded: ")
    weights.unlink()
    assert error(f"hf:{bert}") == (
        f"hf:{bert}: the folder lacks model.safetensors, the weights; copy it there."
    )
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (bert / "model.safetensors.index.json").write_text(json.dumps(index))
    (bert / "model-1.safetensors").touch()
    assert "lacks model-2.safetensors" in error(f"hf:{bert}")
    (tmp_path / "empty").mkdir()
    assert error(f"hf:{tmp_path}/empty") == (
        f"hf:{tmp_path}/empty: the folder has no config.json; name one written by save_pretrained."
    )
    assert "no such folder (looked in" in error(f"hf:{tmp_path}/nothing/here")
    assert error("hf:") == "hf:: names no model; write hf:FOLDER or hf:ORG/NAME."
    (bert / "config.json").write_text("{")
    assert "\n" not in error(f"hf:{bert}")


def test_an_id_is_looked_up_in_the_cache_and_then_on_the_hub(
    llama: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    asked: list[bool] = []
    answers: dict[bool, Path | Exception] = {}

    def snapshot(name: str, *, local_files_only: bool, **_: object) -> str:
        assert name == "some/llama"
        asked.append(local_files_only)
        answer = answers[local_files_only]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    answers = {True: llama}
    assert load_model("hf:some/llama").spec == "hf:some/llama"
    assert asked == [True]

    (tmp_path / "part").mkdir()  # a snapshot without weights
    for cached in (OSError("not here"), tmp_path / "part"):
        asked.clear()
        answers = {True: cached, False: llama}
        load_model("hf:some/llama")
        assert asked == [True, False]

    answers = {True: OSError("not here"), False: OSError("no network\nat all")}
    assert error("hf:some/llama") == (
        "hf:some/llama: no folder of this name, not in the local cache, and the hub does not give "
        "it (OSError: no network at all); download the model and name its folder."
    )


def test_a_folder_comes_before_an_id(
    llama: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(llama, tmp_path / "org" / "net")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_by_id", None)
    assert load_model("hf:org/net").spec == "hf:org/net"


def test_a_missing_package_is_told(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert error(f"hf:{llama}") == (
        f'hf:{llama}: needs the package transformers; install it with pip install "actprune[hf]".'
    )


def test_other_models_do_not_load_transformers(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from actprune.loading.model import build_model\n"
        "build_model('zoo:digits-mlp')\n"
        "print({'transformers', 'huggingface_hub', 'tokenizers', 'gguf'} & set(sys.modules))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"


def write_gguf(path: Path) -> torch.Tensor:
    """A LLaMA of one layer with 8 tokens; its embedding."""
    gguf = pytest.importorskip("gguf")
    torch.manual_seed(0)
    embedding = torch.randn(8, 8)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(12)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*"abcdefg", "ab"])
    writer.add_token_types([1] * 8)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {
        "attn_norm": (8,), "attn_q": (8, 8), "attn_k": (4, 8), "attn_v": (4, 8),
        "attn_output": (8, 8), "ffn_norm": (8,), "ffn_gate": (12, 8), "ffn_up": (12, 8),
        "ffn_down": (8, 12),
    }  # fmt: skip
    writer.add_tensor("token_embd.weight", embedding.numpy())
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", torch.randn(shape).numpy())
    writer.add_tensor("output_norm.weight", torch.ones(8).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return embedding


def test_a_gguf_file_alone_in_its_folder_or_by_name(tmp_path: Path) -> None:
    embedding = write_gguf(tmp_path / "one.gguf")
    loaded = load_model(f"hf:{tmp_path}")
    model: Any = loaded.model
    assert type(model) is transformers.LlamaForCausalLM
    assert torch.equal(model.get_input_embeddings().weight, embedding)
    assert not model.training
    assert loaded.tokenizer().encode(["cde"])[0][-3:] == [2, 3, 4]
    assert type(build_model(f"hf:{tmp_path}")) is transformers.LlamaForCausalLM
    model.save_pretrained(tmp_path / "saved")  # no longer marked as quantized

    shutil.copy(tmp_path / "one.gguf", tmp_path / "two.gguf")
    assert error(f"hf:{tmp_path}") == (
        f"hf:{tmp_path}: the folder has 2 .gguf files; name one: hf:{tmp_path}/one.gguf."
    )
    assert model_hash(load_model(f"hf:{tmp_path}/two.gguf").model) == model_hash(loaded.model)


def test_loading_is_silent(llama: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(f"hf:{llama}").tokenizer()
    assert tuple(capfd.readouterr()) == ("", "")
