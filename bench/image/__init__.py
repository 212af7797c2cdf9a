"""Images: what is measured, as bytes. An EIF in and out, its ramdisks, and `measurements.json`.

Nothing here runs an image or trusts one. The only error is `ImageError`.
"""

from __future__ import annotations

from pathlib import Path


class ImageError(Exception):
    """An image, a part of one or its measurements are not what they must be.

    `file` and `field` say where, `found` and `expected` what, `hint` what a person can do.
    """

    def __init__(
        self, file: str | Path, field: str, *, found: object, expected: object, hint: str = ""
    ) -> None:
        self.file = str(file)
        self.field = field
        self.found = found
        self.expected = expected
        self.hint = hint
        text = f"{file}, field {field}: found {found}, expected {expected}"
        super().__init__(f"{text}\nhint: {hint}" if hint else text)
