"""A stream as users meet it."""

from __future__ import annotations

from pipeline.ingest.session import StreamSession

__all__ = ["LiveStream"]


class LiveStream(StreamSession):
    """A stream into a fleet. Get one from `pipeline.Fleet.stream`."""
