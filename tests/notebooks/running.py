"""Running notebooks, and keeping what they showed in a form that is fit to be committed."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient
from PIL import Image

__all__ = ["FOLDER", "names", "outputs", "read", "run", "slim", "text_of", "write"]

FOLDER: Final = Path(__file__).parents[2] / "notebooks"

_STRICT: Final = """import warnings

warnings.simplefilter("error")
warnings.filterwarnings("ignore", module=r"ipykernel\\.")  # of itself, when it is shut down
"""
_LONGEST_PAGE: Final = 8_000


def names() -> list[str]:
    """Return the names of all notebooks."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def read(name: str) -> Any:
    """Return a notebook as it is stored."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def write(name: str, notebook: Any) -> None:
    """Store a notebook."""
    nbformat.validate(notebook)
    nbformat.write(notebook, FOLDER / f"{name}.ipynb")  # type: ignore[no-untyped-call]


def run(name: str, folder: Path, *, real_data: Path | None = None) -> Any:
    """Run a notebook in a kernel of its own, from top to bottom, with warnings as errors.

    Parameters
    ----------
    name
        Of the notebook.
    folder
        Where it runs and what it leaves behind goes.
    real_data
        The folder of real sensor data; simulated data by default.

    Returns
    -------
    nbformat.NotebookNode
        The notebook with its outputs.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    environment = {
        **{key: value for key, value in os.environ.items() if key != "IOT_ARCHIVE_REAL_DATA"},
        **({"IOT_ARCHIVE_REAL_DATA": str(real_data)} if real_data else {}),
        "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]),
        "TMPDIR": str(folder),
    }
    notebook = read(name)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_STRICT))  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=120,
        record_timing=False,
        coalesce_streams=True,  # what is printed may arrive in any number of pieces
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    del notebook.cells[0]
    return notebook


def outputs(notebook: Any) -> Iterator[Any]:
    """Yield the outputs of all cells."""
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def text_of(notebook: Any) -> str:
    """Return all that a notebook said in plain text."""
    told = (
        one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs(notebook)
    )
    return "\n".join(told)


def slim(notebook: Any) -> Any:
    """Return a notebook without what belongs to the machine, and with small pictures.

    Cells are counted from 1, xarray's long pages (which forges show without their style) give way
    to their plain text, and pictures keep 256 colours.
    """
    notebook.metadata.language_info = {"name": "python"}
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            data, output.metadata = output.get("data", {}), {}
            if len(data.get("text/html", "")) > _LONGEST_PAGE:
                del data["text/html"]
            if "image/png" in data:
                data["image/png"] = _few_colours(data["image/png"])
            if output.output_type == "stream":
                del output["metadata"]
    return notebook


def _few_colours(picture: str) -> str:
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    small = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()
