"""The thread that keeps a connection to the broker, and mends it."""

from __future__ import annotations

import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from pipeline.connectors.mqtt.inbox import Inbox
from pipeline.connectors.mqtt.options import MqttOptions
from pipeline.connectors.mqtt.packets import Receipts
from pipeline.connectors.mqtt.reasons import RefusedError
from pipeline.connectors.mqtt.session import Session, Told
from pipeline.connectors.mqtt.sockets import open_socket, tls_context
from pipeline.connectors.mqtt.wire import ProtocolViolationError
from pipeline.errors import InvalidInputError

__all__ = ["Connection"]

_READ: Final = 256 * 1024
_FAREWELL: Final = 2.0  # seconds for the broker to confirm that the archive is offline

type _Order = tuple[Session | None, Callable[[Session], None]]


class Connection:
    """Connects, reads, writes, and connects again.

    Parameters
    ----------
    options
        What was declared.
    inbox
        Where messages go.

    Attributes
    ----------
    counts : dict of str to int
        Connections, failures and so on; only added to.
    last_error : str
        Why the last connection ended or did not come about; empty while all is well.
    """

    def __init__(self, options: MqttOptions, inbox: Inbox) -> None:
        self._options = options
        self._inbox = inbox
        self._context = tls_context(options)
        self._receipts: Receipts = {}
        self._orders: deque[_Order] = deque()
        self._session: Session | None = None
        self._tried = threading.Event()
        self._stopping = threading.Event()
        self._paused = False
        self._heard = 0.0
        self._final: RefusedError | InvalidInputError | None = None
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self.last_error = ""
        self.granted_qos = -1  # until a subscription is confirmed
        self.counts = dict.fromkeys(
            ("connections", "failures", "sessions_lost", "messages", "bytes", "retained_ignored",
             "repeated", "publications_dropped", "acknowledgements_dropped"), 0
        )  # fmt: skip

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection."""
        session = self._session
        return session is not None and session.told.opened

    def start(self) -> None:
        """Begin, and wait until the first attempt has failed, or has led to subscriptions.

        Raises
        ------
        InvalidInputError
            If the broker refuses for a reason that does not mend itself.
        """
        self._thread.start()
        self._tried.wait()
        if self._final is not None:
            self.stop()
            msg = f"{self._options.url}: {self._final}"
            raise InvalidInputError(msg) from self._final

    def stop(self) -> None:
        """Say farewell and end the thread; a second time this does nothing."""
        self._stopping.set()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._woken.close()
        self._waker.close()

    def pause(self, *, paused: bool) -> None:
        """Stop reading the socket, or go on."""
        self._paused = paused
        self.wake()

    def wake(self) -> None:
        """Have the thread look at what changed."""
        with suppress(OSError):  # it has not looked at the last calls yet, or has ended
            self._waker.send(b"\0")

    def acknowledge(self, session: Session, acks: bytes | bytearray, receipts: Receipts) -> None:
        """Acknowledge messages on the connection on which they came, if it still lives."""
        self._orders.append((session, lambda current: current.acknowledge(acks, receipts)))
        self.wake()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish a message with QoS 0, if there is a connection."""
        self._orders.append((None, lambda current: current.publish(topic, payload)))
        self.wake()

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                self._attempt()
                self._tried.set()
                held = time.monotonic() - began
                failures = 1 if held >= self._options.backoff.most_s else failures + 1
                chance = random.random()  # noqa: S311 spreads reconnections, keeps no secret
                self._stopping.wait(self._options.backoff.delay(failures, chance))
        except BaseException as error:
            self._inbox.fail(error)
            raise
        finally:
            self._tried.set()

    def _attempt(self) -> None:
        try:
            with open_socket(self._options, self._context) as opened:
                self._serve(opened)
        except (RefusedError, InvalidInputError) as error:
            self._failed(error)
            if not self._tried.is_set() and (isinstance(error, InvalidInputError) or error.final):
                self._final = error
                self._stopping.set()
        except (OSError, ProtocolViolationError) as error:
            self._failed(error)
        finally:
            self._session = None

    def _failed(self, error: Exception) -> None:
        self.counts["failures"] += 1
        self.last_error = str(error) or type(error).__name__

    def _serve(self, opened: socket.socket) -> None:
        now = self._heard = time.monotonic()
        session = Session(self._options, self._receipts, now, time.time_ns() // 1_000_000)
        self._session = session
        patience = self._options.connect_timeout_s
        farewell = 0.0
        while True:
            now = time.monotonic()
            if not session.told.ready and now - self._heard >= patience:
                msg = f"the broker did not answer for {patience:g} seconds"
                raise TimeoutError(msg)
            if self._stopping.is_set() and not farewell:
                farewell = now + _FAREWELL
                if session.told.opened and self._options.status_topic:
                    session.publish_status(online=False, timestamp=time.time_ns() // 1_000_000)
            reading = bool(farewell) or (not self._paused and self._inbox.has_room)
            self._obey(session)
            if farewell and (session.is_confirmed or now >= farewell):
                self._leave(opened, session)
                return
            if not reading:
                self._heard = now
            session.tick(now, reading=reading)
            self._exchange(opened, session, reading=reading)

    def _obey(self, session: Session) -> None:
        while self._orders:
            told, order = self._orders.popleft()
            if told is session or (told is None and session.told.opened):
                order(session)
            else:
                dropped = "publications" if told is None else "acknowledgements"
                self.counts[f"{dropped}_dropped"] += 1

    def _exchange(self, opened: socket.socket, session: Session, *, reading: bool) -> None:
        """Send what can be sent, and read once if there is something."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        events = (select.POLLIN if reading else 0) | (select.POLLOUT if session.outgoing else 0)
        if events:
            poll.register(opened, events)
        pending = reading and isinstance(opened, ssl.SSLSocket) and opened.pending() > 0
        ready = {number for number, _ in poll.poll(0 if pending else self._patience())}
        if self._woken.fileno() in ready:
            self._woken.recv(4096)
        if session.outgoing:
            self._send(opened, session)
        if reading and (pending or opened.fileno() in ready):
            self._receive(opened, session)

    def _patience(self) -> float:
        """Return the milliseconds to wait for an event at most."""
        return min(1.0, self._options.keepalive_s / 8, self._options.connect_timeout_s / 4) * 1000

    def _send(self, opened: socket.socket, session: Session) -> None:
        try:
            sent = opened.send(session.outgoing)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        except OSError:
            if not session.told.ready:
                self._receive(opened, session)  # it may have said why before it closed
            raise
        del session.outgoing[:sent]
        session.sent(time.monotonic())

    def _receive(self, opened: socket.socket, session: Session) -> None:
        try:
            data = opened.recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except ssl.SSLError as error:
            if session.told.ready or isinstance(error, ssl.SSLEOFError):
                raise
            # With TLS 1.3 a broker looks at certificates after the client's handshake is over.
            msg = f"the broker ends the encrypted connection: {error}"
            raise RefusedError(msg, final=True) from error
        if not data:
            msg = "the broker closed the connection; maybe for another client of the same client_id"
            raise ConnectionResetError(msg)
        self._heard = time.monotonic()
        before = replace(session.told)
        arrivals = session.receive(data, self._heard, time.time_ns() // 1000)
        if session.told != before:
            self._note(session, before)
        self.counts["messages"] += len(arrivals.messages)
        self.counts["bytes"] += arrivals.read
        self.counts["retained_ignored"] += arrivals.ignored
        self.counts["repeated"] += len(arrivals.repeated)
        if not self._stopping.is_set() and (arrivals.messages or arrivals.acks):
            self._inbox.put(session, arrivals)
            # A long backlog comes before the answer to the subscription, and fills the inbox:
            # whoever waits for the start has to draw.
            self._tried.set()

    def _note(self, session: Session, before: Told) -> None:
        if session.told.opened and not before.opened:
            again = self.counts["connections"] > 0 and self._options.session == "persistent"
            self.counts["connections"] += 1
            self.counts["sessions_lost"] += again and not session.told.present
        if session.told.ready:
            self.granted_qos = session.told.qos
            self.last_error = ""
            self._tried.set()

    def _leave(self, opened: socket.socket, session: Session) -> None:
        session.disconnect()
        opened.settimeout(_FAREWELL)
        with suppress(OSError):
            opened.sendall(session.outgoing)
            # The broker closes. Closing with unread bytes would reset the connection, and might
            # lose the last acknowledgements on their way.
            while opened.recv(_READ):
                pass
