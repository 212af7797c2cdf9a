"""TLS that ends inside the enclave, under roots that are measured with it.

`roots.pem` holds the five roots of Amazon Trust Services that AWS's endpoints chain to, and is part
of the image. Anyone can have a certificate of theirs for a name of his own, so whoever uses a
context of this file has to insist on the endpoint's name as well.
"""

from __future__ import annotations

import ssl
from pathlib import Path

ROOTS = Path(__file__).with_name("roots.pem")


def context(roots: str | None = None) -> ssl.SSLContext:
    """A client's context: TLS 1.2 or later, names checked, trusting `roots` (PEM) and no other.

    By default those of the image. Neither the system's store nor the environment is looked at, so
    there is nothing that a host could add a root to.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # demands a certificate, and checks its name
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_verify_locations(cadata=ROOTS.read_text("ascii") if roots is None else roots)
    return made
