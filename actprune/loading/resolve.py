"""What `FILE.py:NAME` and `PACKAGE.MODULE:NAME` mean: import the code and find the name in it.

Code that the user names on the command line is run, as Python would run it: the file's own folder
(or, for a module, the current folder) is put on the import path and stays there.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from actprune.errors import ActpruneError
from actprune.loading.paths import existing_file, one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An object that a user named, and its name in normal form."""

    value: Any
    spec: str  # 'a/b.py:name' without a leading './', or 'package.module:name'
    folder: Path  # the user's code: errors are located in the deepest line below it


def resolve(spec: str) -> Resolved:
    """Import the file or module before the last colon and look up the (dotted) name after it.

    Raises:
        ActpruneError: if `spec` has another form, the file or module does not exist or fails when
            imported, or holds no such name.
    """
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise ActpruneError(f"{spec}: expected FILE.py:NAME or PACKAGE.MODULE:NAME.")
    if place.endswith(".py"):
        path = existing_file(Path(place), "Python file")
        folder = path.resolve().parent
        place = Path(place).as_posix()
        module = _import(spec, folder, lambda: _run_file(path))
    elif all(part.isidentifier() for part in place.split(".")):
        folder = Path.cwd()
        module = _import(spec, folder, lambda: _import_module(spec, place, folder))
    else:
        raise ActpruneError(
            f"{spec}: '{place}' is neither a file ending in .py nor a module; "
            f"write FILE.py:{name} or PACKAGE.MODULE:{name}."
        )
    return Resolved(value=_look_up(module, place, name), spec=f"{place}:{name}", folder=folder)


def call(resolved: Resolved) -> Any:
    """The result of calling the object without arguments.

    Raises:
        ActpruneError: if it cannot be called so, or raises an exception.
    """
    spec, value = resolved.spec, resolved.value
    if not callable(value):
        raise ActpruneError(
            f"{spec}: expected something to call without arguments, got {type(value).__name__}."
        )
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # built-ins without a signature
        signature = None
    if signature is not None:
        try:
            signature.bind()
        except TypeError as e:
            raise ActpruneError(
                f"{spec}: must be callable without arguments, but {e}; give it a default, or name "
                f"a function that fills it in."
            ) from e
    return guarded(f"{spec}: calling it", resolved.folder, value)


def _run_file(path: Path) -> ModuleType:
    content = path.resolve().read_bytes()
    digest = hashlib.blake2b(bytes(path.resolve()) + b"\0" + content, digest_size=8).hexdigest()
    name = f"actprune_user_{digest}"  # the same file, unchanged, is run once a process
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being run
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(spec: str, name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{name}.".startswith(f"{e.name}."):
            raise  # the module is there, but imports something that is not
        raise ActpruneError(
            f"{spec}: no module named '{e.name}' here ({folder}) or installed; check the name, "
            f"or give a file as FILE.py:NAME."
        ) from e


def _import(spec: str, folder: Path, load: Callable[[], ModuleType]) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
    return guarded(f"{spec}: importing it", folder, load)


def guarded(what: str, folder: Path, action: Callable[[], Any]) -> Any:
    """The result of `action`, or what it raises as one line that says where in the user's code.

    Args:
        what: the subject of '... failed'.
        folder: where the user's code is.
        action: runs that code.

    Raises:
        ActpruneError: if `action` raises any exception, or exits.
    """
    try:
        return action()
    except ActpruneError:
        raise
    except (Exception, SystemExit) as e:  # a script may call sys.exit when it is imported
        frames = [
            f
            for f in traceback.extract_tb(e.__traceback__)
            if Path(f.filename).is_relative_to(folder)
            and "site-packages" not in f.filename
            and f.filename != __file__
        ]
        where = f" at {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
        raise ActpruneError(f"{what} failed{where}: {one_line(e)}") from e


def _look_up(module: ModuleType, place: str, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            public = [n for n in dir(value) if not n.startswith("_")]
            close = difflib.get_close_matches(part, public, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else "."
            raise ActpruneError(f"{place}:{name}: '{place}' has no '{part}'{hint}")
        value = getattr(value, part)
    return value
