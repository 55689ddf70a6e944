"""Where the ledger outlives its process: a database by SQLAlchemy, written in batches.

No prompt and no caller's name is in it: a stream is known by a digest.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from sqlalchemy import (
    Column,
    Connection,
    Delete,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from fairgen.indicator import TargetDistribution
from fairgen.ledger import StreamCounts
from pipelines.serve.reservations import Reservation

log = logging.getLogger(__name__)
_WRITERS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_COUNT = np.dtype("<i4")
_KEY_BYTES = 16
_GATHER_S = 0.002
_MAX_TARGETS = 1024

_tables = MetaData()
_TARGETS = Table(
    "fairgen_targets",
    _tables,
    Column("digest", String(32), primary_key=True),
    Column("target", String, nullable=False),
)
_STREAMS = Table(
    "fairgen_streams",
    _tables,
    Column("endpoint", String(200), primary_key=True),
    Column("key", LargeBinary(_KEY_BYTES), primary_key=True),
    Column("target", String(32), nullable=False),
    Column("counts", LargeBinary, nullable=False),
    Column("used", Integer, nullable=False),
)
_RESERVATIONS = Table(
    "fairgen_reservations",
    _tables,
    Column("endpoint", String(200), primary_key=True),
    Column("id", String(32), primary_key=True),
    Column("keys", LargeBinary, nullable=False),
    Column("target", String(32), nullable=False),
    Column("cells", LargeBinary, nullable=False),
    Column("lost", LargeBinary, nullable=False),
    Column("state", String(8), nullable=False),
    Column("retry", String(64), nullable=False),
    Column("deadline", Float, nullable=False),
)
_KEEPERS = Table(
    "fairgen_ledger_keepers",
    _tables,
    Column("endpoint", String(200), primary_key=True),
    Column("keeper", String(32), nullable=False),
)

_FORGOTTEN, _SETTLED = (
    delete(table).where(table.c.endpoint == bindparam("of"), table.c[key] == bindparam("gone"))
    for table, key in ((_STREAMS, "key"), (_RESERVATIONS, "id"))
)

_UNUSED = delete(_TARGETS).where(
    _TARGETS.c.digest.not_in(select(_STREAMS.c.target)),
    _TARGETS.c.digest.not_in(select(_RESERVATIONS.c.target)),
)


@dataclass
class Batch:
    """What has changed since the last batch; None in the place of what is gone."""

    streams: dict[bytes, StreamCounts | None] = field(default_factory=dict)
    reservations: dict[str, Reservation | None] = field(default_factory=dict)

    @property
    def present_streams(self) -> dict[bytes, StreamCounts]:
        """The streams that are not gone."""
        return {key: found for key, found in self.streams.items() if found is not None}

    @property
    def present_reservations(self) -> dict[str, Reservation]:
        """The reservations that are not gone."""
        return {name: found for name, found in self.reservations.items() if found is not None}

    def after(self, earlier: "Batch") -> "Batch":
        """Return both as one."""
        return Batch(earlier.streams | self.streams, earlier.reservations | self.reservations)


class TakenOver(Exception):
    """Another indicator of the same endpoint keeps the ledger now."""


class LedgerStore:
    """The rows of one endpoint's ledger. Threads may call it by turns.

    Who loads last keeps the ledger: what an indicator before it still writes is refused.
    """

    def __init__(self, url: str, endpoint: str) -> None:
        """Raise ValueError for a database that cannot be used."""
        self._endpoint, self._keeper, self._batch_index = endpoint, uuid4().hex, 0
        try:
            kind = make_url(url).get_backend_name()
        except ArgumentError as error:
            raise ValueError(f"ledger: got no address of a database: {error}") from error
        if kind not in _WRITERS:
            raise ValueError(f"ledger: got {kind!r}, allowed are {sorted(_WRITERS)}")
        self._upserts = {table: _upsert(_WRITERS[kind](table)) for table in _tables.sorted_tables}
        self._engine = create_engine(url, pool_pre_ping=True)
        if kind == "sqlite":
            event.listen(self._engine, "connect", _durably)
        with self._usable():
            _tables.create_all(self._engine)

    @classmethod
    def below(cls, home: Path, endpoint: str) -> "LedgerStore":
        """Return the store of a home folder: a file of SQLite."""
        folder = home / "ledger"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / 'ledger.sqlite'}", endpoint)

    def load(self) -> Batch:
        """Return all that was kept, the stream that was quiet longest first, and be its keeper.

        Raises ValueError for a database that cannot be read.
        """
        with self._usable(), self._engine.begin() as connection:
            ours = {"endpoint": self._endpoint, "keeper": self._keeper}
            self._put(connection, _KEEPERS, [ours])
            connection.execute(_UNUSED)
            targets = {
                row.digest: TargetDistribution.model_validate_json(row.target)
                for row in connection.execute(select(_TARGETS))
            }
            streams = connection.execute(
                select(_STREAMS).where(_STREAMS.c.endpoint == self._endpoint).order_by("used")
            ).all()
            reservations = connection.execute(
                select(_RESERVATIONS).where(_RESERVATIONS.c.endpoint == self._endpoint)
            ).all()
        self._batch_index = max((row.used for row in streams), default=0)
        return Batch(
            {row.key: StreamCounts(targets[row.target], _ints(row.counts)) for row in streams},
            {row.id: _reservation(row, targets[row.target]) for row in reservations},
        )

    def save(self, batch: Batch) -> None:
        """Write a batch in one transaction. Raises TakenOver, or SQLAlchemyError with nothing
        written.
        """
        self._batch_index += 1
        ours = {"endpoint": self._endpoint}
        streams = {key: counts for key, counts in batch.streams.items() if counts is not None}
        reservations = {
            name: reservation
            for name, reservation in batch.reservations.items()
            if reservation is not None
        }
        targets = {found.target for found in streams.values()}
        targets |= {found.target for found in reservations.values()}
        with self._engine.begin() as connection:
            kept = connection.execute(
                update(_KEEPERS)
                .where(_KEEPERS.c.endpoint == self._endpoint, _KEEPERS.c.keeper == self._keeper)
                .values(keeper=self._keeper)
            )
            if not kept.rowcount:
                raise TakenOver
            self._put(connection, _TARGETS, [_target_row(target) for target in targets])
            self._put(
                connection,
                _STREAMS,
                [
                    ours | {"key": key, "target": _target_row(found.target)["digest"],
                            "counts": _bytes(found.counts), "used": self._batch_index}
                    for key, found in streams.items()
                ],
            )  # fmt: skip
            self._put(
                connection,
                _RESERVATIONS,
                [
                    ours | {"id": name, "keys": b"".join(found.keys), "state": found.state,
                            "target": _target_row(found.target)["digest"],
                            "cells": _bytes(found.cells), "lost": _bytes(found.lost),
                            "retry": found.retry, "deadline": found.deadline}
                    for name, found in reservations.items()
                ],
            )  # fmt: skip
            self._drop(connection, _FORGOTTEN, batch.streams.keys() - streams.keys())
            self._drop(connection, _SETTLED, batch.reservations.keys() - reservations.keys())

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Raise ValueError, in a line and without a password, where the database fails within."""
        try:
            yield
        except SQLAlchemyError as error:
            shown = self._engine.url.render_as_string(hide_password=True)
            why = str(error).strip().split("\n")[0]
            raise ValueError(f"ledger: got {shown}, which cannot be used: {why}") from error

    def _put(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]
    ) -> None:
        """Insert rows, or put them in the place of those of their keys."""
        if rows:
            connection.execute(self._upserts[table], rows)

    def _drop(self, connection: Connection, deletion: Delete, gone: Set[bytes] | Set[str]) -> None:
        if gone:
            connection.execute(deletion, [{"of": self._endpoint, "gone": k} for k in gone])


class LedgerWriter:
    """Writes what has changed in batches, one at a time. One event loop may call it."""

    def __init__(self, store: LedgerStore | None, changes: Callable[[], Batch]) -> None:
        """`changes` returns what has changed since its last call; without a store nothing is
        kept.
        """
        self._store, self._changes = store, changes
        self._unsaved = Batch()
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._fails = False

    async def kept(self) -> None:
        """Return when all that has changed until now is on disk.

        A disk or a database that fails costs no picture: the log says so, the counts stay in memory
        and are written with a later batch.
        """
        if self._store is None:
            return
        if self._next is None:
            self._next = asyncio.ensure_future(self._write_after(self._running))
        await asyncio.shield(self._next)

    async def _write_after(self, running: "asyncio.Task[None] | None") -> None:
        if running is not None and not running.done():
            await asyncio.wait({running})
            await asyncio.sleep(_GATHER_S)  # under load more come, for one commit
        self._running, self._next = self._next, None
        if self._store is None:
            return
        batch = self._changes().after(self._unsaved)
        try:
            await asyncio.to_thread(self._store.save, batch)
        except TakenOver:
            log.warning("another indicator keeps the ledger now; this one counts in memory")
            self._store, self._unsaved = None, Batch()
            return
        except SQLAlchemyError as error:
            if not self._fails:
                log.error("the ledger is not written, its counts stay in memory: %s", error)
            self._fails, self._unsaved = True, batch
            return
        if self._fails:
            log.warning("the ledger is written again")
        self._fails, self._unsaved = False, Batch()


def _durably(connection: object, _: object) -> None:
    """A commit is on the disk; the journal needs no shared memory, as a network disk has none."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=TRUNCATE")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


@lru_cache(_MAX_TARGETS)
def _target_row(target: TargetDistribution) -> dict[str, str]:
    """Return a target's row; equal targets have one."""
    text = target.model_dump_json()
    return {"digest": blake2b(text.encode(), digest_size=16).hexdigest(), "target": text}


def _upsert(write: Any) -> Any:
    """Return an insertion that puts a row in the place of the one of its key."""
    table = write.table
    keys = [column.name for column in table.primary_key]
    values = {c.name: write.excluded[c.name] for c in table.columns if c.name not in keys}
    return write.on_conflict_do_update(index_elements=keys, set_=values)


def _bytes(numbers: tuple[int, ...]) -> bytes:
    return np.array(numbers, dtype=_COUNT).tobytes()


def _ints(content: bytes) -> tuple[int, ...]:
    return tuple(np.frombuffer(content, dtype=_COUNT).tolist())


def _reservation(row: object, target: TargetDistribution) -> Reservation:
    values = row._mapping  # type: ignore[attr-defined]
    keys = values["keys"]
    return Reservation(
        keys=tuple(keys[at : at + _KEY_BYTES] for at in range(0, len(keys), _KEY_BYTES)),
        target=target,
        cells=_ints(values["cells"]),
        lost=_ints(values["lost"]),
        state=values["state"],
        retry=values["retry"],
        deadline=values["deadline"],
    )
