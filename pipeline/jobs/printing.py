"""Reports as text for people: aligned columns, with units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.jobs.reports import CompactionReport, ImportReport, QuestionReport

__all__ = ["align", "plural", "print_bytes", "print_seconds", "report_text"]

_GAP: Final = "  "


def report_text(
    title: str,
    archive: str,
    imports: Sequence[ImportReport],
    questions: Sequence[QuestionReport],
    *,
    compactions: Sequence[CompactionReport] = (),
    cluster: Mapping[str, Any] | None = None,
    answers: bool = True,
) -> str:
    """Return what a job has done as text.

    Parameters
    ----------
    title, archive
        For the heading.
    imports, questions, compactions
        What was done, in order.
    cluster
        The cluster's part of the report, if there was one.
    answers
        Whether to show the first values of each answer.
    """
    paragraphs = [f"{title}\n{'=' * len(title)}\narchive {archive}"]
    if imports:
        paragraphs.append("Imports\n" + _imports_table(imports))
        paragraphs.append("\n".join(_import_notes(imports, cluster)))
    if compactions:
        paragraphs.append("Compactions\n" + _compactions_table(compactions))
    if questions:
        paragraphs.append("Questions\n" + _questions_table(questions))
        if answers:
            paragraphs += [text for question in questions if (text := _answer(question))]
    return "\n\n".join(paragraphs)


def align(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table; the first `left` columns are aligned left, the others right.

    Parameters
    ----------
    header
        Titles of the columns.
    rows
        Texts, as many as there are columns.
    left
        Columns aligned left.
    """
    table = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            text.ljust(width) if at < left else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(["", *cells]).rstrip())
    lines.insert(1, _GAP.join(["", *("-" * width for width in widths)]))
    return "\n".join(lines)


def print_bytes(count: float | None) -> str:
    """Return a number of bytes with a unit, such as ``15.3 MiB``; a dash for None."""
    if count is None:
        return "-"
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    at = 0
    while abs(count) >= 1024 and at < len(units) - 1:
        count, at = count / 1024, at + 1
    return f"{count:.{0 if at == 0 else 1}f} {units[at]}"


def print_seconds(seconds: float) -> str:
    """Return a duration with a unit that suits it, such as ``3.4 ms`` or ``2.10 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.2f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def plural(count: int, word: str) -> str:
    """Return a number with its noun, such as ``1 worker`` or ``1,000 devices``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _imports_table(imports: Sequence[ImportReport]) -> str:
    rows = [_import_cells(one) for one in imports]
    if len(imports) > 1:
        rows.append(_total_cells(imports))
    header = (
        "fleet", "devices", "rows", "points", "time", "points/s", "raw", "stored", "ratio", "B/point"
    )  # fmt: skip
    return align(header, rows)


def _import_cells(one: ImportReport) -> list[str]:
    return [
        one.fleet,
        f"{one.devices:,}",
        f"{one.rows:,}",
        f"{one.points:,}",
        print_seconds(one.seconds),
        f"{one.points_per_s:,.0f}",
        print_bytes(one.raw_bytes),
        print_bytes(one.stored_bytes),
        "-" if one.ratio is None else f"{one.ratio:.1f} : 1",
        "-" if one.bytes_per_point is None else f"{one.bytes_per_point:.2f}",
    ]


def _total_cells(imports: Sequence[ImportReport]) -> list[str]:
    seconds, raw = sum(one.seconds for one in imports), sum(one.raw_bytes for one in imports)
    points = sum(one.points for one in imports)
    known = [one.stored_bytes for one in imports if one.stored_bytes is not None]
    stored = sum(known) if len(known) == len(imports) else None
    return [
        "total",
        f"{sum(one.devices for one in imports):,}",
        f"{sum(one.rows for one in imports):,}",
        f"{points:,}",
        print_seconds(seconds),
        f"{points / seconds:,.0f}" if seconds else "-",
        print_bytes(raw),
        print_bytes(stored),
        f"{raw / stored:.1f} : 1" if stored and points else "-",
        f"{stored / points:.2f}" if stored and points else "-",
    ]


def _import_notes(
    imports: Sequence[ImportReport], cluster: Mapping[str, Any] | None
) -> Iterator[str]:
    for one in imports:
        yield f"  {one.fleet}: {', '.join(_facts(one))}"
    yield "  raw: 8 bytes a time stamp and the width of each value; stored: every file of the archive"
    if cluster is not None:
        size = f"{plural(cluster['workers'], 'worker')}, {plural(cluster['threads'], 'thread')}"
        yield (
            f"  before the clock: cluster {cluster['kind']} ({size}) in "
            f"{print_seconds(cluster['start_s'])}, compiled code in {print_seconds(cluster['warmup_s'])}"
        )


def _facts(one: ImportReport) -> Iterator[str]:
    yield f"windows of {one.window}"
    yield f"{plural(one.blocks, 'block')} in {plural(one.partitions, 'partition')}"
    yield plural(one.commits, "commit")
    told = {
        "imported before": plural(one.skipped, "fragment"),
        "in quarantine": plural(one.quarantined, "row"),
        "dropped as repeated": plural(one.duplicates, "row"),
        "ignored": plural(one.ignored, "line"),
    }
    for what, count in told.items():
        if not count.startswith("0 "):
            yield f"{count} {what}"


def _compactions_table(compactions: Sequence[CompactionReport]) -> str:
    rows = [
        [
            one.fleet,
            f"{one.result.partitions:,}",
            f"{one.result.blocks_before:,}",
            f"{one.result.blocks_after:,}",
            print_bytes(one.result.bytes_before),
            print_bytes(one.result.bytes_after),
            f"{one.result.duplicates:,}",
            print_seconds(one.seconds),
            f"{one.rows_per_s:,.0f}",
        ]
        for one in compactions
    ]
    header = (
        "fleet", "partitions", "blocks before", "after", "bytes before", "after", "duplicates",
        "time", "rows/s",
    )  # fmt: skip
    return align(header, rows)


def _questions_table(questions: Sequence[QuestionReport]) -> str:
    rows = [
        [
            one.title,
            one.fleet,
            _shape(one.sizes),
            str(one.repeat),
            print_seconds(one.first_ms / 1e3),
            print_seconds(one.median_ms / 1e3),
        ]
        for one in questions
    ]
    return align(("question", "fleet", "answer", "asked", "first", "median"), rows, left=3)


def _shape(sizes: Mapping[str, int]) -> str:
    return " x ".join(plural(size, name) for name, size in sizes.items()) or "1 value"


def _answer(question: QuestionReport) -> str:
    if not question.excerpt:
        return ""
    names = list(question.excerpt[0])
    header = [f"{name} [{question.units[name]}]" if name in question.units else name for name in names]  # fmt: skip
    rows = [[_value(cell[name]) for name in names] for cell in question.excerpt]
    shown = len(rows)
    lines = [question.title, align(header, rows, left=0)]
    cells = 1
    for size in question.sizes.values():
        cells *= size
    if cells > shown:
        lines.append(f"  ... and {cells - shown:,} more")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
