"""Trained weights, kept in the user's cache folder so that each net is trained only once.

The folder is ACTPRUNE_CACHE, else XDG_CACHE_HOME/actprune, else ~/.cache/actprune. It only ever
saves time: a file that is damaged is made anew, and a folder that cannot be written is not used.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import logging
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from actprune.errors import ActpruneError
from actprune.files import write_atomically
from actprune.running.hashing import model_hash
from actprune.zoo.entry import Entry
from actprune.zoo.training import isolated

log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Where this user's cache is; None where there is no home folder. It need not exist."""
    if chosen := os.environ.get("ACTPRUNE_CACHE"):
        return Path(chosen)
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):  # the XDG specification says to ignore relative paths
        return Path(xdg) / "actprune"
    try:
        return Path.home() / ".cache" / "actprune"
    except RuntimeError:
        return None


def cache_file(entry: Entry, seed: int) -> Path | None:
    """The file of one trained net: named after entry, seed, torch version and training recipe."""
    folder = cache_folder()
    if folder is None:
        return None
    recipe = hashlib.blake2b(digest_size=6)
    for name in entry.modules:
        try:
            recipe.update(inspect.getsource(importlib.import_module(name)).encode())
        except OSError:  # installed without sources: nothing says which recipe a file belongs to
            return None
    key = f"{entry.name}-seed{seed}-torch{torch.__version__}-{recipe.hexdigest()}"
    return folder / "zoo" / f"{key}.safetensors"


def trained(entry: Entry, seed: int = 0) -> nn.Module:
    """The entry's net trained with `seed` (>= 0), in evaluation mode on the CPU.

    Read from the cache where it is there and whole; otherwise trained, which takes seconds, and
    put there. Neither the global random state nor the number of threads changes.
    """
    path = cache_file(entry, seed)
    if path is not None and path.exists():
        try:
            return _read(path, entry)
        except (OSError, SafetensorError, RuntimeError, ValueError) as e:
            reason = " ".join(str(e).split())
            log.warning("%s: damaged cache file (%s); training %s again.", path, reason, entry.name)
    model = entry.train(seed)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _to_bytes(model))
        except (OSError, ActpruneError) as e:
            log.warning("%s will be trained again next time: not cached (%s)", entry.name, e)
    return model


def _to_bytes(model: nn.Module) -> bytes:
    return save(model.state_dict(), metadata={"hash": model_hash(model)})


def _read(path: Path, entry: Entry) -> nn.Module:
    with safe_open(path, framework="pt") as f:
        stored = (f.metadata() or {}).get("hash")
        state = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118  # not a dict
    with isolated(seed=0):
        model = entry.build()
    model.load_state_dict(state)
    if model_hash(model) != stored:
        raise ValueError("the weights do not have the hash they were stored with")
    return model.eval()
