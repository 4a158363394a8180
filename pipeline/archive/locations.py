"""Where an archive lives: parsing of archive URLs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import InvalidInputError

__all__ = ["Location"]

_SCHEMES = {
    "s3": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "azure": "az",
    "file": "file",
    "memory": "memory",
}


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed archive URL.

    Parameters
    ----------
    scheme
        ``file``, ``memory``, ``s3``, ``gs`` or ``az``.
    bucket
        Bucket or container; empty for local folders and memory.
    path
        Absolute folder, name of a memory archive, or prefix inside the bucket.
    """

    scheme: str
    bucket: str
    path: str

    @classmethod
    def parse(cls, url: str | Path) -> Location:
        """Read a folder path or a ``scheme://`` URL.

        Raises
        ------
        InvalidInputError
            If the scheme is unknown, or a bucket or prefix is missing.
        """
        text = str(url)
        if "://" not in text:
            return cls("file", "", str(Path(text).expanduser().absolute()))
        parts = urlsplit(text)
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None:
            known = ", ".join(f"{name}://" for name in ("s3", "gs", "az", "memory"))
            msg = f"{text!r}: unknown scheme; give a folder or one of {known}"
            raise InvalidInputError(msg)
        if scheme == "file":
            return cls("file", "", unquote(parts.path))
        if scheme == "memory":
            return cls("memory", "", parts.netloc + parts.path)
        prefix = parts.path.strip("/")
        if not parts.netloc or not prefix:
            msg = f"{text!r}: an object-store archive needs a bucket and a prefix, {scheme}://bucket/prefix"
            raise InvalidInputError(msg)
        return cls(scheme, parts.netloc, prefix)

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.path
        return f"{self.scheme}://" + "/".join(part for part in (self.bucket, self.path) if part)
