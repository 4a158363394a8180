"""An authority, and certificates of a server on loopback and of a client, for tests."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Certificates", "made_certificates"]


@dataclass(frozen=True)
class Certificates:
    """PEM files.

    Parameters
    ----------
    ca
        The authority.
    server, server_key
        For 127.0.0.1 and localhost.
    client, client_key
        The key is not encrypted.
    """

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def made_certificates(folder: Path) -> Certificates:
    """Make an authority with two certificates that are valid for a day, by ``openssl``."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = ["-subj", "/CN=authority of a test", "-addext", "keyUsage=critical,keyCertSign"]
    _request(folder, "ca", [*authority, "-x509", "-days", "1"])
    for name in ("server", "client"):
        told = f"{name}.txt"
        (folder / told).write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        _request(folder, name, ["-subj", f"/CN={name}"])
        _openssl(
            folder, "x509", "-req", "-in", f"{name}.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "1", "-extfile", told, "-out", f"{name}.crt",
        )  # fmt: skip
    return Certificates(
        folder / "ca.pem",
        folder / "server.crt",
        folder / "server.key",
        folder / "client.crt",
        folder / "client.key",
    )


def _request(folder: Path, name: str, options: list[str]) -> None:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(
        folder, "req", "-new", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", *options
    )


def _openssl(folder: Path, *options: str) -> None:
    subprocess.run(["openssl", *options], cwd=folder, check=True, capture_output=True)
