"""Certificates for tests, made by the openssl program."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


class Authority:
    """A private authority and what it signs, in a folder."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        if shutil.which("openssl") is None:
            pytest.fail("the tests of TLS need the openssl program (apt-get install openssl)")
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._serial = 0
        self._run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ca.key")
        self._run(
            *(
                "req",
                "-x509",
                "-new",
                "-key",
                "ca.key",
                "-out",
                "ca.pem",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
            ),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        self.ca = str(folder / "ca.pem")

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def issue(
        self,
        name: str,
        alternatives: str = "DNS:localhost,IP:127.0.0.1",
        *,
        subject: str | None = None,
        password: str | None = None,
    ) -> tuple[str, str]:
        """(certificate, key) as files called ``name``."""
        self._serial += 1
        self._run(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.plain"
        )
        self._run(
            *(
                "req",
                "-new",
                "-key",
                f"{name}.plain",
                "-subj",
                subject or f"/CN={name}",
                "-out",
                f"{name}.csr",
            )
        )
        (self.folder / f"{name}.ext").write_text(
            f"subjectAltName={alternatives}\nauthorityKeyIdentifier=keyid\nkeyUsage=critical,digitalSignature\n"
        )
        self._run(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"),
            *("-set_serial", str(self._serial), "-extfile", f"{name}.ext", "-out", f"{name}.crt"),
        )
        if password is None:
            (self.folder / f"{name}.plain").replace(self.folder / f"{name}.key")
        else:
            self._run(
                "pkey",
                "-in",
                f"{name}.plain",
                "-aes256",
                "-passout",
                f"pass:{password}",
                "-out",
                f"{name}.key",
            )
        return str(self.folder / f"{name}.crt"), str(self.folder / f"{name}.key")

    def client(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        """A context that trusts this authority, with a client certificate if given."""
        context = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context
