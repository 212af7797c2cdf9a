"""Our four-bit weights in ggml's order: the same values in other places.

Q4_0 (block_q4_0 in ggml-common.h) has our groups of 32 and our values, (v - 8) times a scale, which
is a float16 there and a bfloat16 here: the same where a float16 is normal, from 6e-5 on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUP = 32

Array = NDArray[Any]


def turned(rows: Array, heads: int) -> Array:
    """Rows of queries or keys as llama.cpp rotates them: neighbours together, not halves."""
    split = rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(rows.shape)


def blocks(packed: Array, scale: Array) -> Array:
    """(O, I / 2) of ours and (O, I / 32) bfloat16 scales to (O, I / 32 * 18) bytes of Q4_0.

    A block is a float16 scale and 16 bytes, of which byte n holds values n and n + 16.
    """
    low, high = packed & 15, packed >> 4
    values = np.stack((low, high), axis=-1).reshape(*scale.shape, GROUP)  # (O, I / 32, 32)
    halves = values[..., : GROUP // 2] | values[..., GROUP // 2 :] << 4
    wide = (scale.astype("<u4") << 16).view("<f4")
    narrow = wide.astype("<f2")[..., None].view("u1")  # (O, I / 32, 2)
    return np.concatenate((narrow, halves), axis=-1).reshape(len(packed), -1)
