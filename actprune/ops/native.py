"""Compile a small C file once a machine, and call it: loops that no tensor library fuses.

The library is kept in the user's cache under a name that changes with the source, the compiler and
the processor. Without a compiler there is none, and callers take their plain PyTorch path.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
SECONDS = 60  # after which a compiler is given up
DISABLE = "ACTPRUNE_NATIVE"  # set to 0: never compile, never load


@functools.cache
def library(source: Path) -> ctypes.CDLL | None:
    """The compiled `source`, from the cache where it is known; None where it cannot be made."""
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None or os.environ.get(DISABLE) == "0" or platform.system() != "Linux":
        return None
    try:
        kept = _folder() / f"{source.stem}-{_key(source, compiler)}.so"
        try:
            return ctypes.CDLL(str(kept))
        except OSError:  # not made yet, or cut short by a crash
            _compile(source, compiler, kept)
            return ctypes.CDLL(str(kept))
    # a broken compiler is none; RuntimeError: nor is there a home to keep a library in
    except (OSError, subprocess.SubprocessError, RuntimeError):
        return None


def _folder() -> Path:
    """A folder of the user's own: what lies in it is loaded into the process."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "actprune" / "native"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # who can write to the parent can swap the folder; a group may, as umask 002 leaves it
    for part, forbidden in ((folder, 0o022), (folder.parent, 0o002)):
        if part.stat().st_uid != os.getuid() or part.stat().st_mode & forbidden:
            raise PermissionError(f"{part} can be written by others")
    return folder


def _key(source: Path, compiler: str) -> str:
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, timeout=SECONDS, check=True
    ).stdout
    digest = hashlib.blake2b(digest_size=12)
    for part in (source.read_bytes(), version, " ".join(FLAGS).encode(), _processor()):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _processor() -> bytes:
    """What `-march=native` goes by, so that a shared cache never serves another machine's code."""
    lines = Path("/proc/cpuinfo").read_bytes().split(b"\n\n")[0].splitlines()
    told = (b"vendor_id", b"model", b"model name", b"flags", b"Features", b"CPU part")
    return b"\n".join(x for x in lines if x.split(b":")[0].strip() in told)


def _compile(source: Path, compiler: str, kept: Path) -> None:
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        made = Path(scratch) / kept.name
        subprocess.run(
            [compiler, *FLAGS, "-shared", "-fPIC", str(source), "-o", str(made), "-lm"],
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
        made.chmod(0o700)  # whatever the umask: only the user may change what is loaded
        os.replace(made, kept)
