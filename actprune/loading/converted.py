"""GGUF models of the zoo, kept in the cache as float32: reading them anew takes half a minute."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from actprune.errors import ActpruneError
from actprune.files import new_folder
from actprune.loading.hf import FromFolder, load_hf
from actprune.running.hashing import model_hash
from actprune.zoo.cache import cache_folder
from actprune.zoo.package import Package

log = logging.getLogger(__name__)
HASH = "hash.txt"


def is_gguf(digests: Mapping[str, str]) -> bool:
    return any(name.endswith(".gguf") for name in digests)


def load_converted(package: Package, *, with_weights: bool = True) -> FromFolder:
    """The model of a package that holds a GGUF file; the same bits from the cache or from there.

    A damaged cache is said and made anew; one that cannot be written is said and not used.

    Raises:
        ActpruneError: as `Package.path` and `load_hf`.
    """
    spec, source = f"zoo:{package.name}", package.path()
    at = _place(package)
    if at is not None and (at / HASH).is_file():
        try:
            found = load_hf(str(at), spec, with_weights=with_weights)
            if not with_weights or model_hash(found.model) == (at / HASH).read_text():
                return found
            reason = "the weights do not have the hash they were stored with"
        except (ActpruneError, OSError, UnicodeDecodeError) as e:
            reason = str(e)
        log.warning("%s: damaged cache (%s); reading the package again.", at, reason)
    found = load_hf(str(source), spec, with_weights=with_weights)
    if at is not None and with_weights:
        try:
            _keep(found, at)
        except (OSError, ActpruneError) as e:
            log.warning("%s will be converted again next time: not cached (%s)", spec, e)
    return found


def _place(package: Package) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    what = "".join([*package.digests.values(), version("transformers"), version("gguf")])
    key = hashlib.blake2b(what.encode(), digest_size=6).hexdigest()
    return folder / "zoo" / f"{package.name}-{key}"


def _keep(found: FromFolder, at: Path) -> None:
    shutil.rmtree(at, ignore_errors=True)
    with new_folder(at) as folder:
        found.save(folder)
        (folder / HASH).write_text(model_hash(found.model))
