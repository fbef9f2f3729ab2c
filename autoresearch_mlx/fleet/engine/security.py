"""Give Dask the certificates of the coordinator or of a machine, as files."""

from __future__ import annotations

from pathlib import Path

from distributed.security import Security

from autoresearch_mlx.fleet.handshake import certificate_files
from autoresearch_mlx.fleet.pairing import Pairing


def security_of(pairing: Pairing, folder: Path) -> Security:
    """Return Dask's settings for mutual TLS.

    The certificates are written into ``folder``; only the owner can read them.
    """
    paths = certificate_files(pairing, folder)
    sides = {
        f"tls_{role}_{what}": str(paths[name])
        for role in ("scheduler", "worker", "client")
        for what, name in (("cert", "certificate"), ("key", "key"))
    }
    return Security(tls_ca_file=str(paths["authority"]), require_encryption=True, **sides)
