"""`hf:DIR-or-ID`: the folder that is meant, and which of its files hold the model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actprune.errors import ActpruneError
from actprune.loading.paths import one_line

ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)  # of a model on the hub
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")  # neither code nor pickles
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
TOKENIZERS = (
    "tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model",
    "sentencepiece.bpe.model", "tekken.json",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder that transformers can read without running code or unpickling anything."""

    folder: Path
    gguf: str | None = None  # the file that holds everything, if it is not safetensors

    @property
    def has_tokenizer(self) -> bool:
        return self.gguf is not None or any((self.folder / f).is_file() for f in TOKENIZERS)


def checkpoint(name: str, spec: str) -> Checkpoint:
    """Find the model `name`: a folder, a .gguf file, or an ID, looked up in the local cache first.

    Raises:
        ActpruneError: if nothing is there, or it lacks configuration or readable weights.
    """
    path = _expanded(name, spec)
    if path.is_file() and path.suffix == ".gguf":
        return Checkpoint(folder=path.parent, gguf=path.name)
    if path.is_dir():
        return _in_folder(path, spec)
    if path.exists():
        raise ActpruneError(f"{spec}: neither a folder nor a .gguf file; name the model's folder.")
    if not ID.fullmatch(name):
        raise ActpruneError(
            f"{spec}: no such folder (looked in {Path.cwd()}); name a folder written by "
            f"save_pretrained, a .gguf file or an ID like org/name."
        )
    return _by_id(name, spec)


def _expanded(name: str, spec: str) -> Path:
    if not name:
        raise ActpruneError(f"{spec}: names no model; write hf:FOLDER or hf:ORG/NAME.")
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as e:  # no home folder, a NUL byte, too long
        raise ActpruneError(f"{spec}: cannot be read ({one_line(e)}).") from e
    return path


def _in_folder(folder: Path, spec: str) -> Checkpoint:
    has_config = (folder / "config.json").is_file()
    missing = _missing_weights(folder)
    if has_config and not missing:
        return Checkpoint(folder=folder)
    ggufs = sorted(p.name for p in folder.glob("*.gguf"))
    if len(ggufs) == 1:
        return Checkpoint(folder=folder, gguf=ggufs[0])
    if ggufs:
        raise ActpruneError(
            f"{spec}: the folder has {len(ggufs)} .gguf files; name one: "
            f"hf:{(folder / ggufs[0]).as_posix()}."
        )
    if not has_config:
        raise ActpruneError(
            f"{spec}: the folder has no config.json; name one written by save_pretrained."
        )
    if any(p for pattern in PICKLED for p in folder.glob(pattern)):
        raise ActpruneError(
            f"{spec}: the folder has no {WEIGHTS}, only weights that would have to be unpickled, "
            f"which are not read; write them anew with save_pretrained."
        )
    raise ActpruneError(f"{spec}: the folder lacks {missing[0]}, the weights; copy it there.")


def _missing_weights(folder: Path) -> Sequence[str]:
    """The files of weights that should be in `folder` and are not; WEIGHTS where nothing says."""
    if (folder / WEIGHTS).is_file():
        return ()
    try:
        content = json.loads((folder / INDEX).read_bytes())
        shards = sorted(set(content["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (WEIGHTS,)
    return [s for s in shards if not (folder / s).is_file()]


def _by_id(name: str, spec: str) -> Checkpoint:
    from huggingface_hub import snapshot_download

    def folder(*, cached: bool) -> Path:
        found = snapshot_download(
            name, local_files_only=cached, allow_patterns=list(WANTED), ignore_patterns=["*/*"]
        )
        return Path(found)

    try:
        here = folder(cached=True)
        if (here / "config.json").is_file() and not _missing_weights(here):
            return Checkpoint(folder=here)
    except Exception:  # not in the cache
        pass
    try:
        there = folder(cached=False)
    except Exception as e:  # no network, no such model, no permission: each its own type
        raise ActpruneError(
            f"{spec}: no folder of this name, not in the local cache, and the hub does not give "
            f"it ({one_line(e, 120)}); download the model and name its folder."
        ) from e
    return _in_folder(there, spec)
