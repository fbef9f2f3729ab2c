"""Check that the coordinator and this machine accept each other's certificates, before Dask connects."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from autoresearch_mlx.fleet.pairing import Pairing, write_private

_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 0.5


def certificate_files(pairing: Pairing, folder: Path) -> dict[str, Path]:
    """Write the files ``authority``, ``certificate`` and ``key``; return their paths by these names.

    Only the owner can read them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"tls-{name}.pem" for name in ("authority", "certificate", "key")}
    for name, path in paths.items():
        write_private(path, getattr(pairing, name))
    return paths


def refused_certificate(pairing: Pairing, folder: Path) -> str | None:
    """Return why the coordinator and this machine reject each other's certificates, or None if they accept them.

    Returns None as well if the coordinator does not answer.
    """
    paths = certificate_files(pairing, folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the authority signs for this fleet alone, so host names need no check
    address = urlsplit(pairing.address)
    other = f"the coordinator at {pairing.address} has other certificates than this pairing file"
    hint = "copy the file that `fleet start` names on the coordinator"
    try:
        context.load_verify_locations(paths["authority"])
        context.load_cert_chain(paths["certificate"], paths["key"], password="")  # so that OpenSSL asks for no password
    except ssl.SSLError:
        return "the certificates in the pairing file are damaged: copy the whole file that `fleet start` names again"
    try:
        with (
            socket.create_connection((address.hostname, address.port), _CONNECT_SECONDS) as plain,
            context.wrap_socket(plain) as secure,
        ):
            secure.settimeout(_ANSWER_SECONDS)
            secure.recv(1)  # a refusal of our certificate arrives after the handshake
    except ssl.SSLCertVerificationError:
        return f"{other}: {hint}"
    except ssl.SSLError as error:
        unread = error.reason in ("UNEXPECTED_EOF_WHILE_READING", None)
        return None if unread else f"{other} ({error.reason}): {hint}"
    except OSError:
        return None
    return None
