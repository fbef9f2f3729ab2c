"""Make and read pairing files, with which machines join a fleet.

A pairing file has the coordinator's address, and certificates by which coordinator and machines recognise each other.
``fleet start`` makes a certificate authority, and signs one certificate for the coordinator and one for all machines.
Then the command discards the authority's key, so that nobody can sign a third certificate.  Whoever has the pairing
file can take jobs, and can run code on the coordinator, so only the file's owner may read it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from autoresearch_mlx.errors import ConfigError, LabError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

FOLDER = ".fleet"
"""Folder of the coordinator in the lab's ``.autoresearch``.

It cannot be the folder of a session, because no tag starts with a dot.
"""
PAIRING = "pairing.json"
OWN = "coordinator.json"
_DAYS = 5 * 365
_MISSING = "`pip install 'autoresearch-mlx[fleet]'` installs Dask, through which the machines communicate"


@dataclass(frozen=True, slots=True)
class Pairing:
    """The coordinator's address, with the certificate and the key of the coordinator or of its machines.

    Certificates and keys are PEM texts.
    """

    address: str
    """Address of the coordinator's scheduler: ``tls://192.168.1.5:8786``."""
    authority: str
    certificate: str
    key: str


def need_dask() -> None:
    """Raise ConfigError if the extra ``fleet`` is not installed."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("distributed", "cryptography")):
        raise ConfigError("a fleet needs Dask, which is not installed here", _MISSING)


def make_pairing(folder: Path, address: str, anew: bool = False) -> Path:
    """Write the coordinator's own file and the pairing file into ``folder``; return the path of the pairing file.

    Existing certificates stay valid, so machines that joined earlier can come back.  With ``anew``, the certificates
    are made anew, and all machines must join again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    pairing, own = folder / PAIRING, folder / OWN
    if anew or not pairing.exists() or not own.exists():
        ours, theirs = _signed(address)
    else:
        ours, theirs = read_pairing(own), read_pairing(pairing)
    for path, side in ((own, ours), (pairing, theirs)):
        write_private(path, json.dumps({**asdict(side), "address": address}, indent=1) + "\n")
    return pairing


def own_pairing(folder: Path) -> Pairing:
    """Return the pairing of the coordinator itself.  Raises LabError if no fleet was started in this lab."""
    if not (folder / OWN).exists():
        raise LabError("no fleet was started in this lab", "`autoresearch-mlx fleet start` starts one")
    return read_pairing(folder / OWN)


def read_pairing(path: Path) -> Pairing:
    """Read a pairing file.  Raises ConfigError if the file is missing or is not a pairing."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        side = Pairing(*(str(found[name]) for name in ("address", "authority", "certificate", "key")))
        address = urlsplit(side.address)
        if address.scheme != "tls" or not address.hostname or not address.port or not side.address.isprintable():
            raise ValueError(side.address)
        return side
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", "copy to this machine the file that `fleet start` names"
        ) from None
    except (ValueError, LookupError, TypeError):
        hint = "copy to this machine the whole file that `autoresearch-mlx fleet start` names"
        raise ConfigError(f"{path} is not a pairing file", hint) from None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step, so that no process sees a part of it."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _signed(address: str) -> tuple[Pairing, Pairing]:
    """Return the pairings of the coordinator and of its machines, both signed by a new authority."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("autoresearch-mlx fleet", authority_key, None, authority_key)
    public = authority.public_bytes(Encoding.PEM).decode()

    def side(name: str) -> Pairing:
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _certificate(name, key, authority, authority_key)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Pairing(address, public, signed.public_bytes(Encoding.PEM).decode(), private)

    return side("coordinator"), side("machine")


def _certificate(
    name: str, key: EllipticCurvePrivateKey, issuer: Certificate | None, signer: EllipticCurvePrivateKey
) -> Certificate:
    """Return a certificate for ``key`` from ``issuer``, whose key is ``signer``.

    Without an issuer, it is the certificate of a new authority.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.now(UTC) - timedelta(days=1)  # the clock of another machine may be slow
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return built.sign(signer, hashes.SHA256())
