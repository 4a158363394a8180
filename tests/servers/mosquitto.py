"""Mosquitto, a broker of MQTT 3.1.1 and 5, as a process of its own on a loopback port."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.servers.certificates import Certificates
from tests.servers.install import CACHE
from tests.servers.ports import free_port, wait_for_port

__all__ = ["Mosquitto", "find", "install", "mosquitto"]

_PLACES: Final = (Path("/usr/sbin/mosquitto"), Path("/usr/local/sbin/mosquitto"))
_FOLDER: Final = CACHE / "mosquitto"
_DEPENDENCY: Final = re.compile(r"^\s*Depends: (lib(?!c6)\S+)$", re.MULTILINE)
"""Libraries among the lines of ``apt-cache depends``; the C library is there everywhere."""


def find() -> Path | None:
    """Return the program, or None if it is not installed."""
    named = shutil.which("mosquitto")
    unpacked = _FOLDER / "usr/sbin/mosquitto"
    places = [*([Path(named)] if named else []), *_PLACES, unpacked]
    return next((place for place in places if place.is_file()), None)


def install() -> Path:
    """Return the program, after fetching it if it is not there.

    Root installs Debian's package; others unpack it into the cache folder.

    Raises
    ------
    RuntimeError
        If that fails, or the machine is no Debian.
    """
    found = find()
    if found is not None:
        return found
    if shutil.which("apt-get") is None:
        msg = "there is no apt-get: install mosquitto by hand, so that it is on the PATH"
        raise RuntimeError(msg)
    if os.geteuid() == 0:
        _install_package()
    else:
        _unpack_package()
    found = find()
    if found is None:
        msg = "apt-get ended well, but there is no mosquitto"
        raise RuntimeError(msg)
    return found


def _install_package() -> None:
    options = ["install", "-y", "--no-install-recommends", "mosquitto"]
    # Without this an installed package would start a broker on the port of MQTT.
    silent = {"RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        _apt(options, silent)
    except RuntimeError:
        _apt(["update"], silent)
        _apt(options, silent)


def _unpack_package() -> None:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    told = _run(["apt-cache", "depends", "mosquitto"], {}, _FOLDER)
    # The lists of packages are the system's, which only root may bring up to date.
    _run(["apt-get", "download", "mosquitto", *_DEPENDENCY.findall(told)], {}, _FOLDER)
    for package in _FOLDER.glob("*.deb"):
        _run(["dpkg", "-x", str(package), str(_FOLDER)], {}, _FOLDER)


def _apt(options: list[str], environment: Mapping[str, str]) -> None:
    _run(["apt-get", "-q", *options], environment, Path("/"))


def _run(command: list[str], environment: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode:
        msg = f"{' '.join(command)}: {done.stderr.strip()[-500:]}"
        raise RuntimeError(msg)
    return done.stdout


class Mosquitto:
    """A broker that keeps its sessions in a folder.

    Parameters
    ----------
    folder
        For its files.
    certificates
        Encrypts, and asks clients for certificates of the same authority.
    passwords
        By user; without any everybody may connect.
    settings
        Further lines of its configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificates: Certificates | None = None,
        passwords: Mapping[str, str] | None = None,
        settings: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._certificates = certificates
        self._passwords = passwords or {}
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mqtt{'s' if self._certificates else ''}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the same port and with what it stored; return when it takes clients."""
        program = find()
        assert program is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / "mosquitto.conf"
        place.write_text("\n".join(self._configuration(program)) + "\n")
        libraries = [str(path) for path in _FOLDER.glob("**/lib/*-linux-*")]
        known = [*libraries, os.environ.get("LD_LIBRARY_PATH", "")]
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", place],
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, known))},
            )
        wait_for_port(self.port)

    def store(self) -> None:
        """Have it store everything as it is, and return when that is done."""
        assert self._process is not None
        place = self.folder / "mosquitto.db"
        before = place.stat().st_mtime_ns if place.exists() else 0
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        # It writes another file, and gives it this name when it is whole.
        while not place.exists() or place.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in order: it stores its sessions."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """End it without a chance to store anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)
        self._process = None

    def _configuration(self, program: Path) -> Iterator[str]:
        yield f"listener {self.port} 127.0.0.1"
        if self._certificates is not None:
            yield f"cafile {self._certificates.ca}"
            yield f"certfile {self._certificates.server}"
            yield f"keyfile {self._certificates.server_key}"
            yield "require_certificate true"
        if self._passwords:
            yield f"password_file {self._password_file(program)}"
        yield f"allow_anonymous {'false' if self._passwords else 'true'}"
        yield "persistence true"
        yield f"persistence_location {self.folder}/"
        yield "autosave_interval 0"
        yield "max_queued_messages 0"
        if os.geteuid() == 0:
            yield "user root"  # it would give up the right to read the folder otherwise
        yield from self._settings

    def _password_file(self, program: Path) -> Path:
        tool = next(
            path
            for path in (
                program.parent / "mosquitto_passwd",
                program.parent.parent / "bin/mosquitto_passwd",
            )
            if path.is_file()
        )
        place = self.folder / "passwords"
        place.touch(mode=0o600)
        for user, password in self._passwords.items():
            subprocess.run([tool, "-b", place, user, password], check=True, capture_output=True)
        return place


@contextmanager
def mosquitto(
    folder: Path,
    *,
    certificates: Certificates | None = None,
    passwords: Mapping[str, str] | None = None,
    settings: tuple[str, ...] = (),
) -> Iterator[Mosquitto]:
    """Yield a broker that runs; the parameters are those of `Mosquitto`."""
    broker = Mosquitto(folder, certificates=certificates, passwords=passwords, settings=settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
