"""Targets as the user writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actprune.errors import ActpruneError
from actprune.planning.target import SHARES, Target, parse_target


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("units=50%", "units", 0.5),
        ("params=12.5%", "params", 0.125),
        ("macs=.5%", "macs", 0.005),
        ("bytes=100%", "bytes", 1.0),
        ("loss=+0.02", "loss", 0.02),
        ("loss=1e-3", "loss", 1e-3),
        ("loss=0", "loss", 0.0),
        ("lossless", "lossless", None),
        ("latency=60%", "latency", 0.6),
        ("accuracy=-0.5pt", "accuracy", 0.005),
        ("agreement=2pt", "agreement", 0.02),
        ("accuracy=0pt", "accuracy", 0.0),
    ],
)
def test_a_target_is_read(text: str, kind: str, value: float | None) -> None:
    assert parse_target(text) == Target(kind=kind, value=value)  # pyright: ignore


@given(st.sampled_from(SHARES), st.integers(1, 1000))
def test_what_is_printed_can_be_read_again(kind: str, permille: int) -> None:
    text = f"{kind}={permille / 10:g}%"
    assert str(parse_target(text)) == text
    assert parse_target(str(parse_target(text))).kind == kind


FORMS = (
    "Target must be units=, params=, macs=, bytes= or latency=P%, loss=+X, accuracy= or "
    "agreement=-Xpt, or lossless, got"
)
POINTS = "Target accuracy is written accuracy=-0.5pt (points it may fall, at most 100), "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"{FORMS} ''"),
        ("mac=50%", f"{FORMS} 'mac=50%'; did you mean 'macs'?"),
        ("lossles", f"{FORMS} 'lossles'; did you mean 'lossless'?"),
        ("lossless=1", f"{FORMS} 'lossless=1'; did you mean 'lossless'?"),
        ("50%", f"{FORMS} '50%'"),
        ("macs", "Target macs is written macs=50% (the share kept), got 'macs'."),
        ("macs=50", "Target macs is written macs=50% (the share kept), got 'macs=50'."),
        ("macs=-5%", "Target macs is written macs=50% (the share kept), got 'macs=-5%'."),
        ("macs=50%%", "Target macs is written macs=50% (the share kept), got 'macs=50%%'."),
        ("units=0%", "Target units must keep more than 0% and at most 100%, got 'units=0%'."),
        ("macs=101%", "Target macs must keep more than 0% and at most 100%, got 'macs=101%'."),
        ("loss=-0.1", "A loss target is written loss=+0.02, got 'loss=-0.1'."),
        ("loss=2%", "A loss target is written loss=+0.02, got 'loss=2%'."),
        ("loss=nan", "A loss target is written loss=+0.02, got 'loss=nan'."),
        ("loss=", "A loss target is written loss=+0.02, got 'loss='."),
        ("accuracy=-1%", f"{POINTS}got 'accuracy=-1%'."),
        ("accuracy=+1pt", f"{POINTS}got 'accuracy=+1pt'."),
        ("accuracy=-101pt", f"{POINTS}got 'accuracy=-101pt'."),
        ("latency=0%", "Target latency must keep more than 0% and at most 100%, got 'latency=0%'."),
    ],
)  # fmt: skip
def test_a_malformed_target_is_refused_with_the_right_form(text: str, message: str) -> None:
    with pytest.raises(ActpruneError) as e:
        parse_target(text)
    assert str(e.value) == message
