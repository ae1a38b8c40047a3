"""Runs the notebooks of docs/notebooks and keeps their outputs: python docs/make_notebooks.py"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).resolve().parent
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in a folder with the sample data, as after a checkout; return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


def main() -> None:
    """Run all notebooks and write them with their outputs."""
    for path in NOTEBOOKS:
        with TemporaryDirectory() as folder:
            shutil.copytree(DOCS.parent / "sample_data", Path(folder) / "sample_data")
            notebook = run(path, Path(folder))
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
