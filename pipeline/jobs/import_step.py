"""The import step: from what the job file says to fleets with rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.archive.fleet_meta import Duplicates, FleetMeta, create_fleet
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.layout import FleetLayout
from pipeline.archive.positions import positions_of
from pipeline.archive.unknown_columns import policy_of, widened, with_current_names
from pipeline.errors import JobError, NotFoundError
from pipeline.jobs.clusters import Cluster
from pipeline.jobs.importing import FragmentImport, ImportTotals
from pipeline.jobs.memory import choose_sizes, row_bytes
from pipeline.jobs.opening import JobArchive
from pipeline.jobs.positions import Imported, find_imported, position_of
from pipeline.jobs.progress import Progress
from pipeline.jobs.read_tasks import Columns
from pipeline.jobs.reports import ImportReport
from pipeline.jobs.sampling import choose_window
from pipeline.jobs.step_options import ImportStep
from pipeline.model.ports import Fragment, Source
from pipeline.schema.channels import Schema

__all__ = ["check_sources", "import_all"]


def check_sources(step: ImportStep, hint: str = "") -> None:
    """Find out, before anything is written, whether a step's source is there.

    Parameters
    ----------
    step
        The import.
    hint
        What to add to an error about files that are not there.

    Raises
    ------
    NotFoundError
        If it has no files.
    ArchiveError
        If its files or their schema cannot be.
    """
    try:
        for source in _sources(step).values():
            source.fragments()
            _schema(step, source)
    except NotFoundError as error:
        msg = f"{error}{hint}"
        raise NotFoundError(msg) from error


def import_all(
    opened: JobArchive, cluster: Cluster, step: ImportStep, progress: Progress
) -> Iterator[ImportReport]:
    """Import a step's source into its fleet, or each of its files into a fleet of its own.

    Raises
    ------
    ArchiveError
        If something cannot be read or stored; what is committed stays.
    """
    for fleet, source in _sources(step).items():
        yield _Import(opened, cluster, step, fleet, source, progress).report()


def _sources(step: ImportStep) -> dict[str, Source]:
    if not step.one_fleet_per_file:
        return {step.fleet: step.source.source()}
    if "{stem}" not in step.fleet:
        msg = f"fleet {step.fleet!r}: with one_fleet_per_file the name needs a place for the file's, such as '{{stem}}'"
        raise JobError(msg)
    return {
        step.fleet.replace("{stem}", stem): source
        for stem, source in step.source.per_file().items()
    }


def _schema(step: ImportStep, source: Source) -> Schema:
    return step.schema_given or Schema.from_arrow(source.arrow_schema())


@dataclass(frozen=True, slots=True, eq=False)
class _Import:
    """The import of one source into one fleet."""

    opened: JobArchive
    cluster: Cluster
    step: ImportStep
    fleet: str
    source: Source
    progress: Progress

    def report(self) -> ImportReport:
        before, began = self.opened.stored_bytes(), time.perf_counter()
        fragments = self.source.fragments()
        meta, imported = self._existing(fragments) or (self._created(), Imported())
        store = FleetStore(self.opened.repository, self.fleet)
        unknown = policy_of(self.step.unknown, meta.policies.unknown)
        if unknown == "add" and meta.is_latest:
            meta = self._widened()
        columns = Columns(meta, unknown, self._target(meta))
        meta = store.view().at_version(columns.target).meta
        sizes = choose_sizes(self.cluster.memory, row_bytes(meta.schema), self.cluster.threads)
        forked, retried = self._forked(), self.opened.repository.retries
        totals = FragmentImport(
            self.cluster.client,
            store,
            meta,
            self.step.source.fingerprint,
            sizes,
            self.progress,
            columns,
            self.step.fragments_per_commit,
            self.source.tags(),
            forked,
        ).store_all(fragments, imported)
        totals.retries = self.opened.repository.retries - retried
        seconds = time.perf_counter() - began
        after = self.opened.stored_bytes()
        grown = None if before is None or after is None else after - before
        skipped = sum(position_of(fragment) in imported.done for fragment in fragments)
        devices = len(store.view().registry)
        report = self._summed_up(totals, skipped, meta, devices, seconds, grown)
        return replace(report, forked=forked)

    def _widened(self) -> FleetMeta:
        """Make channels of the columns that the source announces, and return what the fleet is then."""
        store = FleetStore(self.opened.repository, self.fleet)
        announced = self.source.arrow_schema().empty_table()
        meta = store.view().meta
        known = with_current_names(announced, meta.schema, meta.aliases)
        return widened(store, known, self.step.source.kind).meta

    def _forked(self) -> bool:
        """Tell whether workers are to write their blocks themselves.

        On the embedded cluster they share the job's memory: its one writer to a local folder
        takes over their blocks without a copy.
        """
        location = self.opened.repository.location
        if location.scheme == "memory":
            return False
        folder = self.opened.folder
        return folder is None or (not self.cluster.embedded and self.cluster.shares(folder))

    def _summed_up(
        self,
        totals: ImportTotals,
        skipped: int,
        meta: FleetMeta,
        devices: int,
        seconds: float,
        grown: int | None,
    ) -> ImportReport:
        return ImportReport(
            fleet=self.fleet,
            source=self.step.source.kind,
            window=meta.scheme.window_length.value,
            fragments=totals.fragments,
            skipped=skipped,
            commits=totals.commits,
            devices=devices,
            partitions=len(totals.partitions),
            blocks=totals.blocks,
            rows=totals.rows,
            points=totals.points,
            duplicates=totals.duplicates,
            quarantined=totals.quarantined,
            late=totals.late,
            ignored=totals.ignored,
            seconds=seconds,
            raw_bytes=totals.raw_bytes,
            block_bytes=totals.block_bytes,
            stored_bytes=grown,
            retries=totals.retries,
        )

    def _existing(self, fragments: Sequence[Fragment]) -> tuple[FleetMeta, Imported] | None:
        """Return the fleet and what it holds of the source; None if there is no such fleet."""
        if self.fleet not in self.opened.archive:
            return None
        view = FleetStore(self.opened.repository, self.fleet).view()
        self._check_agreement(view.meta)
        meta = view.at_version(self._version(view.meta)).meta
        positions = positions_of(self.opened.repository, self.fleet)
        imported = find_imported(positions, self.step.source.fingerprint)
        changed = next((one.name for one in fragments if imported.holds_other(one)), None)
        if changed is not None and meta.duplicates is Duplicates.KEEP_ALL:
            msg = (
                f"{changed}: the file has changed since it was imported, and fleet {self.fleet!r} "
                "keeps repeated rows, so all of it would be stored twice; put new rows into a new file"
            )
            raise JobError(msg)
        return meta, imported

    def _versions(self, meta: FleetMeta) -> list[int]:
        """Return the versions of the fleet's schema with the channels that the file declares."""
        given = self.step.schema_given
        return [
            one.number
            for one in meta.history
            if given is not None and one.schema.channels == given.channels
        ]

    def _version(self, meta: FleetMeta) -> int | None:
        """Return the version of the schema that the rows have; None for the newest."""
        return self.step.schema_version or max(self._versions(meta), default=None)

    def _target(self, meta: FleetMeta) -> int:
        """Return the version of the schema that rows are stored in."""
        keep = meta.policies.older == "keep"
        return meta.schema.version if keep else meta.history.newest

    def _check_agreement(self, meta: FleetMeta) -> None:
        """Refuse to go on if the job file asks for another fleet than there is."""
        step, asked = self.step, {}
        if step.schema_given and not self._versions(meta):
            asked["schema"] = "channels"
        if step.partitioning.model_fields_set:
            scheme = step.partitioning.scheme(meta.scheme.window_length)
            if scheme != meta.scheme:
                asked["partitioning"] = f"{meta.scheme.to_json()}"
        if "duplicates" in step.model_fields_set and step.duplicates is not meta.duplicates:
            asked["duplicates"] = meta.duplicates.value
        if asked:
            what, has = next(iter(asked.items()))
            msg = (
                f"fleet {self.fleet!r} exists with another {what} ({has}) than the job file says; "
                "leave that key out, or import into another fleet"
            )
            raise JobError(msg)

    def _created(self) -> FleetMeta:
        options = self.step.partitioning
        suggested = None
        if options.window == "auto":
            suggested = choose_window(self.cluster.client, self.source, options.devices_per_block)
        layout = FleetLayout(self.fleet, options.scheme(suggested))
        step = self.step
        meta = FleetMeta(
            layout, _schema(step, self.source), step.duplicates, retention=step.retention.parsed
        )
        self.opened.repository.commit(
            lambda store: create_fleet(store, meta), f"create fleet {self.fleet}"
        )
        return meta
