"""TLS of a server: certificates, who may connect, and how."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

StrPath = str | os.PathLike[str]
Password = str | Callable[[], str]
Verify = Literal["none", "optional", "required"]

_VERIFY: dict[str, int] = {"none": 0, "optional": 1, "required": 2}
_CERT_REQS: dict[int, Verify] = {
    ssl.CERT_NONE: "none",
    ssl.CERT_OPTIONAL: "optional",
    ssl.CERT_REQUIRED: "required",
}
# Values of uvicorn's --ssl-version (protocols of the ssl module); the first two mean "whatever is safe".
_PROTOCOLS: dict[int, tuple[str, str]] = {
    2: ("TLSv1.2", ""),
    17: ("TLSv1.2", ""),
    3: ("TLSv1", "TLSv1"),
    4: ("TLSv1.1", "TLSv1.1"),
    5: ("TLSv1.2", "TLSv1.2"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate chain with its key, as PEM files."""

    cert_file: StrPath
    key_file: StrPath | None = None
    """None: the key is in ``cert_file``."""
    key_password: Password | None = None
    """Of an encrypted key: text, or a function that is asked each time the files are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions(Certificate):
    """What ``Server(tls=...)`` takes. The certificate of its own fields is the default one.

    Versions are "TLSv1.2" or "TLSv1.3". ``TlsError`` is raised when something is wrong with the files, by
    ``Server()`` and ``Server.reload_tls()``.
    """

    more_certs: Sequence[Certificate] = ()
    """Further certificates, chosen by the name that the client asks for (SNI): exact names before wildcards."""
    refuse_unknown_names: bool = False
    """End the handshake of clients that ask for another name, instead of giving them the default certificate."""
    verify_client: Verify = "none"
    """Client certificates: not asked for, verified when there is one, or required."""
    client_ca_file: StrPath | None = None
    """Authorities that may sign client certificates, PEM."""
    client_ca_dir: StrPath | None = None
    """The same as a directory of hashed names (``openssl rehash``)."""
    crl_file: StrPath | None = None
    """Revoked client certificates, PEM."""
    alpn: Sequence[str] = ("http/1.1",)
    """Protocols in order of preference."""
    min_version: str = "TLSv1.2"
    max_version: str = ""
    ciphers: str = ""
    """OpenSSL's syntax; names that start with "TLS_" choose those of TLS 1.3. Empty: forward secrecy and AEAD only."""
    groups: str = ""
    """Groups of the key exchange, as "X25519:P-256". Empty: OpenSSL's."""
    tickets: bool = True
    """Let clients resume their sessions; nothing is kept for them here."""
    ticket_lifetime_s: int = 7200
    """Seconds that a ticket is good for; the key changes as often."""
    ticket_secret: bytes = b""
    """The same 32 or more random bytes in several processes let each take the tickets of the others."""

    def native(self) -> dict[str, Any]:
        """For ``NativeTls``; asks for passwords."""
        return {
            "certificates": [_files(self), *(_files(each) for each in self.more_certs)],
            "refuse_unknown_names": self.refuse_unknown_names,
            "verify_client": _VERIFY[self.verify_client],
            "client_ca_file": _path(self.client_ca_file),
            "client_ca_dir": _path(self.client_ca_dir),
            "crl_file": _path(self.crl_file),
            "alpn": ",".join(self.alpn),
            "min_version": self.min_version,
            "max_version": self.max_version,
            "ciphers": self.ciphers,
            "groups": self.groups,
            "tickets": self.tickets,
            "ticket_lifetime_s": self.ticket_lifetime_s,
            "ticket_secret": self.ticket_secret,
        }


def _path(path: StrPath | None) -> str:
    return "" if path is None else os.fspath(path)


def _files(files: Certificate) -> tuple[str, str, str]:
    password = files.key_password
    text = password() if callable(password) else password or ""
    return _path(files.cert_file), _path(files.key_file), text


def from_uvicorn(
    *,
    certfiles: Sequence[str],
    keyfiles: Sequence[str],
    password: str | None,
    version: int | str | None,
    cert_reqs: int,
    ca_certs: str | None,
    ciphers: str,
    ticket_secret: bytes = b"",
) -> TlsOptions:
    """``TlsOptions`` from the options that uvicorn has; the n-th key belongs to the n-th certificate.

    Raises ValueError when they contradict each other.
    """
    if not certfiles:
        raise ValueError("--ssl-keyfile needs an --ssl-certfile")
    if len(keyfiles) > len(certfiles) or 0 < len(keyfiles) < len(certfiles):
        raise ValueError(
            f"{len(keyfiles)} --ssl-keyfile for {len(certfiles)} --ssl-certfile: give each its own"
        )
    if cert_reqs not in _CERT_REQS:
        raise ValueError(f"--ssl-cert-reqs: {cert_reqs} is not 0 (none), 1 (optional) or 2 (required)")
    lowest, highest = "TLSv1.2", ""
    if isinstance(version, str) and version and not version.isdigit():
        lowest = version
    elif version not in (None, ""):
        if int(version) not in _PROTOCOLS:
            raise ValueError(f"--ssl-version: {version} is no TLS protocol of the ssl module")
        lowest, highest = _PROTOCOLS[int(version)]
    keys: Sequence[str | None] = keyfiles or [None] * len(certfiles)
    default, *more = [
        Certificate(cert_file=cert, key_file=key, key_password=password)
        for cert, key in zip(certfiles, keys, strict=True)
    ]
    verify = _CERT_REQS[cert_reqs]
    # uvicorn takes authorities without a wish to verify, and ignores them.
    authorities = ca_certs if verify != "none" else None
    is_directory = authorities is not None and os.path.isdir(authorities)
    return TlsOptions(
        cert_file=default.cert_file,
        key_file=default.key_file,
        key_password=default.key_password,
        more_certs=tuple(more),
        verify_client=verify,
        client_ca_file=None if is_directory else authorities,
        client_ca_dir=authorities if is_directory else None,
        min_version=lowest,
        max_version=highest,
        ciphers=ciphers,
        ticket_secret=ticket_secret,
    )
