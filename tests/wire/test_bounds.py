from __future__ import annotations

import pytest

from enclave.wire.bounds import COUNT, Bounds, exactly


@pytest.mark.parametrize(
    ("bounds", "value"),
    [
        (COUNT, 0),
        (COUNT, (1 << 64) - 1),
        (exactly(2), b"ab"),
        (Bounds(str, 1, 3), "水"),
        (Bounds(dict, 0, 1), {"a": 1}),
    ],
)
def test_within(bounds: Bounds, value: object) -> None:
    assert bounds.fault(value) == ""


@pytest.mark.parametrize(
    ("bounds", "value", "fault"),
    [
        (COUNT, -1, "-1, not 0"),
        (COUNT, 1 << 64, "not 0 to"),
        (COUNT, True, "bool instead of int"),
        (COUNT, 1.0, "float instead of int"),
        (COUNT, None, "NoneType instead of int"),
        (exactly(2), b"a", "1, not 2 to 2"),
        (exactly(2), bytearray(2), "bytearray instead of bytes"),
        (Bounds(str, 1, 2), "水", "3, not 1 to 2"),  # in bytes, not letters
        (Bounds(str, 1, 2), "", "0, not 1 to 2"),
        (Bounds(dict, 0, 0), {1: 1}, "1, not 0 to 0"),
    ],
)
def test_beyond(bounds: Bounds, value: object, fault: str) -> None:
    assert fault in bounds.fault(value)
