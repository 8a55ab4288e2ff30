"""The intake of inboxes: who may send, how much may wait, and the one writer that stores for all who wait for it.

Requests that arrive while a transaction is under way are stored together by the next one: one commit, one fsync, many
answers. An answer is given after the commit and never before. Nothing here knows HTTP or the form of a body.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from metalayer.core.errors import AccessError, DeliveryError, MetaLayerError, Refusal, did_you_mean
from metalayer.core.inbox import Delivery, Receipt, Standing
from metalayer.core.people import Sender
from metalayer.metastore import inbox

if TYPE_CHECKING:
    from metalayer.metastore.facts import Connection
    from metalayer.metastore.postgres import Metastore

Reply = TypeVar("Reply")
Outcome = Receipt | MetaLayerError

KEYS_KEPT = timedelta(days=7)
"""For how long at least a key is known, so that what has it is not stored again."""

_GROUP_ROWS, _GROUP_BYTES = 2_000, 8 << 20
_REMEMBERED = 10.0  # seconds for which a token that was accepted is not asked for again
_CARE_EVERY = 5.0
_RETRY_AFTER = 5


@dataclass(frozen=True, slots=True)
class Room:
    """How much may wait in one inbox before it takes nothing more.

    Attributes:
        rows: requests that are stored and not in bronze.
        bytes: the size of their bodies.
        queued: bytes of requests that wait for the next commit, of all inboxes together.
    """

    rows: int = 1_000_000
    bytes: int = 2 << 30
    queued: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Health:
    """Whether requests are taken, and why not; and what waits for the next commit."""

    accepting: bool
    trouble: str = ""
    queued: int = 0


@dataclass(slots=True)
class _State:
    """What the writer and those who submit share. Not a value: it is guarded by the intake's condition."""

    queue: list[tuple[Delivery, object]] = field(default_factory=list)
    queued: int = 0
    closing: bool = False
    trouble: str = ""
    standings: dict[str, Standing] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


class Intake(Generic[Reply]):
    """Takes deliveries of any thread and stores them; ``announce`` is told what became of them, in the writer's thread.

    One process has one intake; several processes may take in for the same environment.
    """

    def __init__(
        self,
        metastore: Callable[[], Metastore],
        sources: Sequence[str],
        announce: Callable[[list[tuple[Reply, Outcome]]], None],
        *,
        clock: Callable[[], datetime],
        room: Room | None = None,
    ) -> None:
        self._metastore = metastore
        self._sources = frozenset(sources)
        self._announce = announce
        self._clock = clock
        self._room = room or Room()
        self._state = _State()
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="inbox writer")
        self._ready = threading.Event()

    def start(self) -> None:
        """Begin to store."""
        self._writer.start()
        self._ready.wait()

    def close(self) -> None:
        """Take nothing more, store what was taken, and end."""
        with self._changed:
            self._state.closing = True
            self._changed.notify()
        self._writer.join()

    # Taking in

    def table(self, name: str) -> str:
        """Return the table of bronze that a name in an address means.

        Raises:
            DeliveryError: there is no such inbox.
        """
        for candidate in (name, f"bronze.{name}"):
            if candidate in self._sources:
                return candidate
        known = sorted(source.partition(".")[2] for source in self._sources)
        raise DeliveryError(
            f"There is no inbox '{name}'.",
            hint=f"{did_you_mean(name, known)}The inboxes are: {', '.join(known) or 'none'}. One is declared with "
            "`type: inbox` in a file of bronze/; a server that runs must be started again to know it.",
            reason=Refusal.UNKNOWN,
        )

    def submit(self, delivery: Delivery, reply: Reply) -> None:
        """Take a delivery; what became of it is announced with ``reply``.

        Raises:
            DeliveryError: too much waits, or the intake is closing.
        """
        with self._changed:
            self._refuse_full(delivery)
            self._state.queue.append((delivery, reply))
            self._state.queued += delivery.size
            if len(self._state.queue) == 1:
                self._changed.notify()

    def _refuse_full(self, delivery: Delivery) -> None:
        state = self._state
        if state.closing:
            raise _busy("The inbox is being closed.", Refusal.UNAVAILABLE)
        if state.trouble:
            raise _busy(f"Nothing can be stored now: {state.trouble}", Refusal.UNAVAILABLE)
        if state.queued + delivery.size > self._room.queued:
            raise _busy("More comes in than can be stored.", Refusal.BUSY)
        standing = state.standings.get(delivery.source)
        if standing is not None and (
            standing.waiting_rows >= self._room.rows or standing.waiting_bytes >= self._room.bytes
        ):
            raise _busy(
                f"{standing.waiting_rows} requests of {delivery.source} wait to be loaded, which is as many as may.",
                Refusal.BUSY,
            )

    def refuse(self, source: str) -> None:
        """Count a request that was refused."""
        with self._changed:
            self._state.refused[source] += 1

    def health(self) -> Health:
        """Tell whether requests are taken."""
        with self._changed:
            state = self._state
            return Health(not state.closing and not state.trouble, state.trouble, len(state.queue))

    # Storing

    def _write(self) -> None:
        store: Metastore | None = None
        cared = 0.0
        try:
            while True:
                group, closing = self._next_group(wait=_CARE_EVERY if self._ready.is_set() else 0.0)
                try:
                    store = store or self._metastore()
                    outcomes: list[Outcome] = list(self._store(store, group)) if group else []
                    if closing or time.monotonic() - cared > _CARE_EVERY:
                        cared = time.monotonic()
                        self._care(store.connection)
                    self._say_trouble("")
                except MetaLayerError as error:
                    self._say_trouble(error.message)
                    outcomes = [_unstored(error)] * len(group)
                self._ready.set()
                if group:
                    self._announce([(reply, outcome) for (_, reply), outcome in zip(group, outcomes, strict=True)])  # type: ignore[misc]
                if closing and not group:
                    return
        finally:
            self._ready.set()
            if store is not None:
                store.close()

    def _next_group(self, wait: float) -> tuple[list[tuple[Delivery, object]], bool]:
        """Return what is stored together next, and whether this is the end; wait a while for something to come."""
        with self._changed:
            if not self._state.queue and not self._state.closing:
                self._changed.wait(wait)
            state, size, number = self._state, 0, 0
            for delivery, _ in state.queue[:_GROUP_ROWS]:
                if number and size + delivery.size > _GROUP_BYTES:
                    break
                size, number = size + delivery.size, number + 1
            group, state.queue = state.queue[:number], state.queue[number:]
            state.queued -= size
            return group, state.closing

    def _store(self, store: Metastore, group: list[tuple[Delivery, object]]) -> list[Receipt]:
        deliveries = [delivery for delivery, _ in group]
        if inbox.has_keys(deliveries):
            with store.transaction() as connection:
                receipts = inbox.store(connection, deliveries, self._clock())
        else:
            receipts = inbox.store(store.connection, deliveries, self._clock())
        with self._changed:
            for delivery, receipt in zip(deliveries, receipts, strict=True):
                if not receipt.accepted:
                    continue
                before = self._state.standings.get(delivery.source, Standing(delivery.source))
                self._state.standings[delivery.source] = Standing(
                    delivery.source, before.waiting_rows + 1, 0, before.waiting_bytes + delivery.size
                )
        return receipts

    def _care(self, connection: Connection) -> None:
        """See what waits, record what was refused, forget old keys."""
        with self._changed:
            refused, self._state.refused = self._state.refused, Counter()
        inbox.count_refused(connection, refused)
        inbox.forget_keys(connection, self._clock() - KEYS_KEPT)
        found = inbox.standings(connection)
        with self._changed:
            self._state.standings = found

    def _say_trouble(self, words: str) -> None:
        with self._changed:
            self._state.trouble = words


def _busy(message: str, reason: Refusal) -> DeliveryError:
    return DeliveryError(message, hint=f"Send it again after {_RETRY_AFTER} seconds.", reason=reason, wait=_RETRY_AFTER)


def _unstored(error: MetaLayerError) -> DeliveryError:
    """Return the answer to a request whose commit failed; it may have been stored all the same."""
    return DeliveryError(
        f"It was not confirmed that this was stored: {error.message}",
        hint="Send it again with the same Idempotency-Key: then it is there once, whatever became of it.",
        reason=Refusal.UNAVAILABLE,
        wait=_RETRY_AFTER,
    )


class Gate:
    """Who may send what: tokens, each asked for once in a while."""

    def __init__(self, ask: Callable[[str], Sender]) -> None:
        self._ask = ask
        self._known: dict[bytes, tuple[float, Sender | AccessError]] = {}
        self._lock = threading.Lock()

    def remembered(self, secret: str) -> Sender | AccessError | None:
        """Return who holds a token as far as it was asked for lately, or why it is not accepted."""
        found = self._known.get(hashlib.sha256(secret.encode()).digest())
        return None if found is None or found[0] < time.monotonic() else found[1]

    def ask(self, secret: str) -> Sender | AccessError:
        """Ask who holds a token."""
        with self._lock:
            if (found := self.remembered(secret)) is not None:
                return found
            try:
                answer: Sender | AccessError = self._ask(secret)
            except AccessError as error:
                answer = error
            now = time.monotonic()
            self._known = {key: kept for key, kept in self._known.items() if kept[0] > now}
            self._known[hashlib.sha256(secret.encode()).digest()] = (now + _REMEMBERED, answer)
            return answer
