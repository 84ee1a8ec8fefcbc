"""The models that are trained on the spot, and how a user names one of the zoo."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from actprune.errors import ActpruneError
from actprune.zoo import digits_cnn, digits_mlp, mnist_cnn
from actprune.zoo.entry import Entry
from actprune.zoo.package import PACKAGES, Package

ZOO: Mapping[str, Entry] = {
    "digits-mlp": digits_mlp.ENTRY,
    "digits-cnn": digits_cnn.ENTRY,
    "mnist-cnn": mnist_cnn.ENTRY,
}

LARGEST_SEED = 2**63 - 1


def find(spec: str) -> tuple[Entry, int | None]:
    """The entry and the training seed that `zoo:NAME` or `zoo:NAME@SEED` means; no seed is None.

    Raises:
        ActpruneError: if there is no such entry, or the seed is not a whole number in 0..2^63 - 1.
    """
    name, at, seed = spec.removeprefix("zoo:").partition("@")
    if name not in ZOO:
        known = (*ZOO, *PACKAGES)
        close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f"; did you mean 'zoo:{close[0]}'?" if close else "."
        raise ActpruneError(f"{spec}: the zoo has {', '.join(known)}, got '{name}'{hint}")
    if not at:
        return ZOO[name], None
    if not (seed.isascii() and seed.isdigit() and int(seed) <= LARGEST_SEED):
        raise ActpruneError(
            f"{spec}: the training seed after '@' must be a whole number from 0 to 2^63 - 1, "
            f"got '{seed}'; for example 'zoo:{name}@0'."
        )
    return ZOO[name], int(seed)


def find_package(spec: str) -> Package | None:
    """The package that `zoo:NAME` means, if it means one.

    Raises:
        ActpruneError: if a training seed is given, since such a model comes with its weights.
    """
    name, at, _ = spec.removeprefix("zoo:").partition("@")
    if name in PACKAGES and at:
        raise ActpruneError(
            f"{spec}: comes with its weights and has no training seed; write 'zoo:{name}'."
        )
    return PACKAGES.get(name)
