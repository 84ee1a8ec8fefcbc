from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from profile_checks import assert_same_counts
from safetensors.numpy import load, save, save_file
from torch import nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.profiling.collect import profile
from actprune.profiling.gram.settings import GramSettings
from actprune.profiling.merge import merge
from actprune.profiling.result import Profile
from actprune.profiling.sealed import digest_of
from actprune.profiling.store import load_profile, save_profile


@pytest.fixture
def saved(profiled: Callable[..., Profile], tmp_path: Path) -> tuple[Profile, Path]:
    """A file that has everything in it."""
    path = tmp_path / "p.safetensors"
    p = profiled(0, 60, gram=GramSettings(positions=1), histogram=True, strata=remainder)
    save_profile(p, path)
    return p, path


def remainder(batch: Batch) -> torch.Tensor:
    return batch.ids % 3


@pytest.mark.parametrize("gram", [False, True])
def test_a_profile_comes_back_exactly(
    profiled: Callable[..., Profile], tmp_path: Path, gram: bool
) -> None:
    p = merge(profiled(0, 60, gram=gram), profiled(60, 150, gram=gram))
    save_profile(p, tmp_path / "p")

    q = load_profile(tmp_path / "p")

    assert_same_counts(p, q)
    for field in fields(Profile):
        if field.name not in ("sites", "strata"):
            assert getattr(p, field.name) == getattr(q, field.name), field.name


def test_a_profile_without_sites_can_be_stored(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    p = profile(model, [torch.zeros(3, 4)])
    save_profile(p, tmp_path / "p")
    assert load_profile(tmp_path / "p").sites == ()


def test_a_path_may_be_a_string(saved: tuple[Profile, Path], tmp_path: Path) -> None:
    p, path = saved
    again = str(tmp_path / "again")
    save_profile(load_profile(str(path)), again)
    assert_same_counts(load_profile(again), p)


def test_every_truncation_is_refused(saved: tuple[Profile, Path]) -> None:
    _, path = saved
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = random.Random(0)
    cuts = {0, 1, 7, 8, 9, header - 1, header, header + 1, len(content) - 1}
    cuts |= {rng.randrange(len(content)) for _ in range(60)}
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        with pytest.raises(ActpruneError, match=r"p\.safetensors: "):
            load_profile(path)
    path.write_bytes(content + b"\x00")
    with pytest.raises(ActpruneError, match=r"p\.safetensors: "):
        load_profile(path)


def test_every_flipped_bit_is_refused(saved: tuple[Profile, Path]) -> None:
    _, path = saved
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = random.Random(0)
    bits = list(range(64))  # the header's length
    bits += [rng.randrange(64, 8 * header) for _ in range(250)]
    bits += [rng.randrange(8 * header, 8 * len(content)) for _ in range(100)]
    for bit in bits:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(ActpruneError, match=r"p\.safetensors: "):
            load_profile(path)


def test_parts_of_other_files_are_refused_or_make_no_difference(
    profiled: Callable[..., Profile], saved: tuple[Profile, Path]
) -> None:
    """Headers that are swapped, arrays that are exchanged, and files that are spliced."""
    p, path = saved
    content = path.read_bytes()
    others = []
    for options in (
        {"gram": GramSettings(positions=1), "histogram": True, "strata": remainder},
        {"histogram": True},
        {},
    ):
        save_profile(profiled(30, 90, **options), path)
        others.append(path.read_bytes())
    rng = random.Random(0)
    for trial in range(120):
        other = rng.choice(others)
        mine, theirs = (8 + int.from_bytes(c[:8], "little") for c in (content, other))
        if trial % 3 == 0:
            made = other[:theirs] + content[mine:]
        elif trial % 3 == 1:
            cut = rng.randrange(len(content))
            made = content[:cut] + other[cut:]
        else:
            at, n = rng.randrange(mine, len(content)), rng.choice([1, 8, 64, 4096])
            made = content[:at] + other[at : at + n] + content[at + n :]
        path.write_bytes(made)
        try:
            got = load_profile(path)
        except ActpruneError:
            continue
        assert_same_counts(got, p)
        assert (got.identity, got.shards) == (p.identity, p.shards)


def test_files_without_the_later_arrays_are_read(saved: tuple[Profile, Path]) -> None:
    """As they were before there were strata, histograms and drawn positions."""
    p, path = saved

    def forget(arrays: dict[str, np.ndarray]) -> None:
        later = ("strata.", "histogram_", "gram_drawn")
        for name in [n for n in arrays if any(part in n for part in later)]:
            del arrays[name]

    rewrite(path, without("strata"), forget)
    assert b"histogram_" not in path.read_bytes()
    got = load_profile(path)
    assert got.strata == ()
    for x, y in zip(got.sites, p.sites, strict=True):
        assert np.array_equal(x.total, y.total)
        assert x.histogram_samples is x.gram_drawn is None


def rewrite(
    path: Path,
    change_header: Callable[[Any], Any] = lambda h: h,
    change_arrays: Callable[[dict[str, np.ndarray]], Any] = lambda a: None,
) -> None:
    """A file with a correct digest but other contents."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    header = change_header(json.loads(metadata["actprune_profile"]))
    arrays = load(content)
    change_arrays(arrays)
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes(
        save(arrays, metadata={"actprune_profile": text, "digest": digest_of(text, arrays)})
    )


def without(key: str) -> Callable[[Any], Any]:
    return lambda h: {k: v for k, v in h.items() if k != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h | {"schema": 2}, "profile schema 2, this version reads 1"),
        (without("schema"), "not a valid profile .*KeyError: 'schema'"),
        (without("census"), "not a valid profile .*KeyError: 'census'"),
        (lambda h: h | {"shards": [{"source": "x"}]}, "not a valid profile .*ValidationError"),
        (lambda h: h | {"identity": h["identity"] | {"extra": 1}}, "not a valid profile"),
        (lambda h: h | {"refusals": [{"layer": "x"}]}, "not a valid profile .*TypeError"),
        (lambda h: h | {"sites": [*h["sites"], h["sites"][0]]}, "not a valid profile .*2.samples"),
        (lambda h: h | {"strata": ["0", "0", "1"]}, "strata should have a name each"),
        (lambda h: h | {"strata": ["0", "1"]}, r"array strata\.\d\.\w+ should have 2 strata"),
        (lambda h: h | {"strata": [0, 1, 2]}, "strata should have a name each"),
        (lambda h: [h], "not a valid profile"),
        (lambda h: "{", "not a valid profile .*JSONDecodeError"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(
    saved: tuple[Profile, Path], change: Callable[[Any], Any], message: str
) -> None:
    rewrite(saved[1])
    load_profile(saved[1])  # rewriting alone does no harm
    rewrite(saved[1], change)
    with pytest.raises(ActpruneError, match=message):
        load_profile(saved[1])


def shorten(arrays: dict[str, np.ndarray]) -> None:
    arrays["0.total"] = arrays["0.total"][:, 1:].copy()


def retype(arrays: dict[str, np.ndarray]) -> None:
    arrays["1.first"] = arrays["1.first"].astype(np.float64)


def shorten_histogram(arrays: dict[str, np.ndarray]) -> None:
    arrays["1.histogram_samples"] = arrays["1.histogram_samples"][:, :, 1:].copy()


def retype_histogram(arrays: dict[str, np.ndarray]) -> None:
    arrays["0.histogram_positions"] = arrays["0.histogram_positions"].astype(np.float32)


def shorten_strata(arrays: dict[str, np.ndarray]) -> None:
    arrays["strata.1.total"] = arrays["strata.1.total"][:, :, 1:].copy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shorten_histogram, r"array 1.histogram_samples should be int64 of shape \(4, 5, 66\)"),
        (retype_histogram, r"array 0.histogram_positions should be int64 of shape \(4, 6, 66\)"),
        (lambda a: a.pop("strata.0.samples"), r"array 0.samples should be int64 of shape \(32,\)"),
        (shorten_strata, r"array 1.total should be float64 of shape \(32, 5\)"),
        (lambda a: a.pop("0.samples_active"), r"array 0.samples_active should be int64 of shape"),
        (lambda a: a.clear(), "array 0.samples should be int64 of shape"),
        (shorten, r"array 0.total should be float64 of shape \(32, 6\)"),
        (retype, r"array 1.first should be int64 of shape \(5,\)"),
    ],
)
def test_arrays_that_are_missing_or_misshapen_are_refused(
    saved: tuple[Profile, Path], change: Callable[[Any], Any], message: str
) -> None:
    rewrite(saved[1], change_arrays=change)
    with pytest.raises(ActpruneError, match=message):
        load_profile(saved[1])


def test_other_files_are_not_taken_for_profiles(tmp_path: Path) -> None:
    with pytest.raises(ActpruneError, match="absent: no such profile; make one with"):
        load_profile(tmp_path / "absent")
    with pytest.raises(ActpruneError, match="no such profile"):
        load_profile(tmp_path)  # a folder
    save_file({"w": np.zeros(3)}, tmp_path / "weights")
    with pytest.raises(ActpruneError, match="a safetensors file, but not an actprune profile"):
        load_profile(tmp_path / "weights")
    (tmp_path / "text").write_text("hello, this is not a profile")
    with pytest.raises(ActpruneError, match="text: not a readable profile, or cut short"):
        load_profile(tmp_path / "text")


def test_a_profile_that_cannot_be_written_leaves_the_old_one(
    saved: tuple[Profile, Path], tmp_path: Path
) -> None:
    p, path = saved
    with pytest.raises(ActpruneError, match="absent/p: cannot be written"):
        save_profile(p, tmp_path / "absent" / "p")
    with pytest.raises(ActpruneError, match=r"p.safetensors/p: cannot be written \(Not a dir"):
        save_profile(p, path / "p")
    assert_same_counts(load_profile(path), p)
    assert [f.name for f in tmp_path.iterdir()] == ["p.safetensors"]


def test_names_in_any_script_survive(saved: tuple[Profile, Path]) -> None:
    p, path = saved
    named = replace(p, identity=p.identity.model_copy(update={"model": 'größe "x"\n模型'}))
    save_profile(named, path)
    assert load_profile(path).identity == named.identity
