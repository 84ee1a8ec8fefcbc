"""Models of Hugging Face's transformers: no code of theirs is run and nothing is unpickled."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from actprune.errors import ActpruneError
from actprune.loading.hub import Checkpoint, checkpoint
from actprune.loading.paths import one_line
from actprune.zoo.training import isolated

ATTENTION = "eager"  # the fused ones have no forward derivative, which forecasts need
INSTALL = 'pip install "actprune[hf]"'


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare models
class FromFolder:
    """A model in evaluation mode, in float32 on the CPU."""

    model: Any  # one of transformers'
    notes: tuple[str, ...]
    open_tokenizer: Callable[[], Any]  # takes seconds

    def save(self, folder: Path) -> None:
        """Write model and tokenizer into `folder`, as transformers does."""
        with quiet():
            self.model.save_pretrained(folder)
            self.open_tokenizer().save_pretrained(folder)


def load_hf(name: str, spec: str, *, with_weights: bool = True) -> FromFolder:
    """Load the model in the folder, .gguf file or repository `name`.

    Its class is the one that config.json names under `architectures`; a GGUF file, which names
    none, is a causal language model.

    Args:
        name: see `checkpoint`.
        spec: how the user named it, for messages.
        with_weights: False leaves the model with random weights, to load others into.

    Raises:
        ActpruneError: if transformers is missing, the model needs code of its own, or its files
            are missing, damaged or incomplete.
    """
    _require("transformers", spec)
    found = checkpoint(name, spec)
    if found.gguf:
        _require("gguf", spec)
    with _told(spec, "cannot be loaded"), quiet(), isolated(0):
        config = _config(found)
        kind = _class(config, found, spec)
        if with_weights:
            model, notes = _weights(kind, config, found, spec)
        else:
            make = getattr(kind, "from_config", None) or kind._from_config
            model, notes = make(config, dtype=torch.float32, attn_implementation=ATTENTION), ()
    if hasattr(config, "use_cache"):
        model.config.use_cache = False  # keys and values of earlier tokens are never asked for
    return FromFolder(
        model=model.eval(), notes=notes, open_tokenizer=lambda: _tokenizer(found, spec)
    )


def _require(package: str, spec: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ActpruneError(f"{spec}: needs the package {package}; install it with {INSTALL}.")


def _config(found: Checkpoint) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(found.folder, **_options(found))


def _class(config: Any, found: Checkpoint, spec: str) -> Any:
    import transformers

    if found.gguf:
        return transformers.AutoModelForCausalLM
    if getattr(config, "quantization_config", None) is not None:
        raise ActpruneError(
            f"{spec}: the weights are quantized, which cannot be cut; give those in floating point."
        )
    names = getattr(config, "architectures", None) or ()
    if not names:
        return transformers.AutoModel
    kind = getattr(transformers, str(names[0]), None)
    if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel):
        return kind
    raise ActpruneError(
        f"{spec}: transformers {transformers.__version__} has no architecture '{names[0]}', and "
        f"code that comes with a model is not run; write a function that returns the model and "
        f"name it as FILE.py:NAME."
    )


def _weights(kind: Any, config: Any, found: Checkpoint, spec: str) -> tuple[Any, tuple[str, ...]]:
    model, info = kind.from_pretrained(
        found.folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        attn_implementation=ATTENTION,
        output_loading_info=True,
        **_options(found),
    )
    if found.gguf:  # the weights are plain float32 by now
        model.hf_quantizer.remove_quantization_config(model)
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if missing:  # transformers would leave them random
        raise ActpruneError(
            f"{spec}: the weights of {_some(missing)} are not in the file; give the weights of "
            f"{type(model).__name__}, or correct 'architectures' in config.json."
        )
    notes = (f"{spec}: weights not used by the model: {_some(unexpected)}.",) if unexpected else ()
    return model, notes


def _tokenizer(found: Checkpoint, spec: str) -> Any:
    if not found.has_tokenizer:
        raise ActpruneError(
            f"{spec}: the folder has no tokenizer, so text cannot be read; save it there "
            f"(tokenizer.json), or give token ids as npz:FILE."
        )
    from transformers import AutoTokenizer

    with _told(spec, "its tokenizer cannot be loaded"), quiet():
        return AutoTokenizer.from_pretrained(found.folder, **_options(found))


def _options(found: Checkpoint) -> dict[str, Any]:
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    return options | ({"gguf_file": found.gguf} if found.gguf else {})


@contextmanager
def _told(spec: str, what: str) -> Iterator[None]:
    """Turn whatever transformers raises into one line."""
    try:
        yield
    except (ActpruneError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as e:  # damaged files fail in many ways; panics in Rust are no Exception
        if "trust_remote_code" in str(e):
            raise ActpruneError(
                f"{spec}: {what}: it needs code of its own, which is not run; write a function "
                f"that returns the model and name it as FILE.py:NAME."
            ) from e
        raise ActpruneError(f"{spec}: {what}: {one_line(e)}") from e


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and no warnings: what matters is told in notes and errors."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # the bar of GGUF files heeds no setting
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
