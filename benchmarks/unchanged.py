"""Whether another version of geoseg gives the same results, to the byte.

    python benchmarks/unchanged.py record VERSION OUT.json       what a version gives, as digests
    python benchmarks/unchanged.py compare BEFORE AFTER          exit code 1, and what differs, if anything does
    python benchmarks/unchanged.py list                          the runs and their commands

A VERSION is a folder with a package geoseg in it, such as a checkout; BEFORE and AFTER are such folders, or files of
`record`. Each version runs the same commands on the same scenes: everything that `predict`, `vectorize`, `evaluate`,
`tile`, `train` and `info` can be asked for, at least once. Scenes come from sample_data and from seeds. All of it is
done on the CPU, a thread each, so that a version always agrees with itself; digests are good for one machine and one
set of libraries. `--only 'train|tile'` takes the runs whose names fit that and those that they need, `--keep DIR` keeps
what was written and said. Two runs go on at once.

Files are compared as they are, and so are exit codes and what stands on standard output if it is JSON or of `info`.
Other words for people are not. Left out is nothing but

- times: `seconds` in JSON, in bundles, in metrics.csv and in TensorBoard events; when these were written and by which
  process; when a GeoPackage's style was written; how long it took in reports
- the paths of the package and of the folder in which all is made; fingerprints of class rasters and the key of
  stored class statistics, which are made of the latter
- the version: all are told that they are version 0
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
from safetensors import safe_open
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from unchanged_inputs import write_inputs
from unchanged_runs import Run, all_runs, with_what_they_need

PRELOADED = Path(__file__).with_name("preloaded.py")
AT_ONCE = 2
"""Runs that go on at the same time."""
ALONE = "--devices", "--scheduler", "--compile"
"""Options of commands that are not forked."""

Found = dict[str, str]
"""Digests of what a run left, and its exit codes, by name."""


def digests_of(version: Path, runs: list[Run], keep: Path | None = None) -> dict[str, Found]:
    """Run all with a version; digests by run."""
    folder = Path(tempfile.mkdtemp(prefix="unchanged-"))
    try:
        write_inputs(folder)
        environment = environment_of(version.resolve(), folder)
        check_version(version, folder, environment)
        return dict(run_all(runs, folder, environment, Cleaner(folder, version.resolve())))
    finally:
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        shutil.rmtree(folder)


def environment_of(version: Path, folder: Path) -> dict[str, str]:
    """Environment in which that version runs, believes to be version 0, and gives the same each time."""
    named = folder / "version" / "geoseg-0.dist-info"
    named.mkdir(parents=True)
    (named / "METADATA").write_text("Metadata-Version: 2.1\nName: geoseg\nVersion: 0\n")
    known = {
        "PYTHONPATH": os.pathsep.join((str(named.parent), str(version))),
        "CUDA_VISIBLE_DEVICES": "",
        "OGR_CURRENT_DATE": "2026-01-01T00:00:00Z",
        "TZ": "UTC",
        "COLUMNS": "120",
    }
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return os.environ | known | threads


def check_version(version: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Make sure that it is this version which runs."""
    asked = [sys.executable, "-c", "import geoseg; print(geoseg.__file__, geoseg.__version__)"]
    said = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True)
    if said.stdout.split() != [str(version.resolve() / "geoseg" / "__init__.py"), "0"]:
        raise SystemExit(f"{version} is not what runs: {said.stdout}{said.stderr}")


def run_all(
    runs: list[Run], folder: Path, environment: Mapping[str, str], cleaner: Cleaner
) -> Iterator[tuple[str, Found]]:
    """Run all, two at once, each after what it needs."""
    started: dict[str, Future[Found]] = {}
    starters: Queue[Starter] = Queue()

    def work(run: Run) -> Found:
        for name in run.needs:
            started[name].result()
        starter = starters.get()
        try:
            return run_one(run, folder, starter, cleaner)
        finally:
            starters.put(starter)

    with ThreadPoolExecutor(AT_ONCE) as pool, ExitStack() as stack:
        for _ in range(AT_ONCE):
            starters.put(stack.enter_context(Starter(folder, environment)))
        for run in runs:
            started[run.name] = pool.submit(work, run)
        for name, future in started.items():
            yield name, future.result()


def run_one(run: Run, folder: Path, starter: Starter, cleaner: Cleaner) -> Found:
    """Run the commands of a run; digests of what they left and said, and exit codes."""
    out, found, begun = folder / "out" / run.name, Found(), time.monotonic()
    out.mkdir(parents=True)
    for number, command in enumerate(run.commands, start=1):
        arguments = [part.replace("OUT", f"out/{run.name}") for part in shlex.split(command)]
        said = folder / "said" / f"{run.name} {number}"
        kill_at = run.kill_at if number == 1 else ""
        code = starter.finish(arguments, said, lambda ending=kill_at: bool(ending and next(out.rglob(ending), None)))
        found[f"command {number}: exit code"] = str(code)
        if code == 0 and ("--json" in arguments or arguments[0] == "info"):
            found[f"command {number}: output"] = digest(cleaner.clean_said(said.read_bytes()))
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        found |= cleaner.digests(path, path.relative_to(out).as_posix())
    print(f"{run.name}: {len(found)} results in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return found


class Starter:
    """Starts commands one after the other: processes that have loaded all but geoseg, see `preloaded.py`.

    What starts processes of its own is started as a person would.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self._how: dict[str, Any] = {"cwd": folder, "env": environment, "text": True}
        (folder / "said").mkdir(exist_ok=True)

    def __enter__(self) -> Starter:
        process = [sys.executable, str(PRELOADED)]
        self._server = subprocess.Popen(process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **self._how)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def finish(self, arguments: list[str], said: Path, is_time: Callable[[], bool]) -> int:
        """Exit code of a command, which is killed when it is time; what it says and its errors are kept."""
        if any(part in ALONE for part in arguments):
            return self._finish_alone(arguments, said)
        print(json.dumps([arguments, str(said), f"{said} errors"]), file=self._server.stdin, flush=True)
        child = int(self._server.stdout.readline())
        while not select.select([self._server.stdout], [], [], 0.005)[0]:
            if is_time():
                os.kill(child, signal.SIGKILL)
                break
        return int(self._server.stdout.readline())

    def _finish_alone(self, arguments: list[str], said: Path) -> int:
        with said.open("w") as output, Path(f"{said} errors").open("w") as errors:
            process = [sys.executable, "-m", "geoseg", *arguments]
            return subprocess.run(process, stdout=output, stderr=errors, **self._how).returncode


# ------------------------------------------------------------------------------------------------------------- digests


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Cleaner:
    """Takes from results what differs from run to run by nature."""

    folder: Path
    """Where all is made."""
    version: Path
    """Where the package lies."""

    def digests(self, path: Path, name: str) -> Found:
        """Digests of a file, of its parts where it has some that one would look at one by one."""
        if path.suffix == ".safetensors":
            return {f"{name}: {part}": digest(content) for part, content in self.clean_bundle(path).items()}
        if "tfevents" in path.name:
            return {re.sub(r"tfevents.*", "tfevents", name): digest(clean_events(path))}
        if path.suffix == ".npz":
            return {name: digest(clean_arrays(path))}
        return {name: digest(self.clean(path.read_bytes(), path))}

    def clean(self, content: bytes, path: Path) -> bytes:
        """A file's content without times, paths and fingerprints."""
        content = self.without_paths(content)
        if path.name == "metrics.csv":
            return clean_metrics(content)
        if path.suffix == ".html":
            return re.sub(rb"[\d.,]+ (min|s)(?= (on|for) )", b"a while", content)
        if path.suffix == ".gpkg":
            return re.sub(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", b"some day", content)
        if path.suffix == ".tif":
            return re.sub(rb'("GEOSEG_FINGERPRINT"[^>]*>)[0-9a-f]{32}', rb"\1", content)
        return content

    def clean_said(self, said: bytes) -> bytes:
        """What a command said, without times and paths."""
        said = self.without_paths(said)
        try:
            return json.dumps(without_seconds(json.loads(said)), indent=1).encode()
        except ValueError:
            return re.sub(rb"(?m)^ *seconds: .*\n", b"", said)

    def clean_bundle(self, path: Path) -> dict[str, bytes]:
        """What a bundle says of its model, and its weights."""
        with safe_open(path, framework="np") as bundle:
            said = bundle.metadata()
            weights = b"".join(name.encode() + bundle.get_tensor(name).tobytes() for name in sorted(bundle.keys()))
        spec = self.clean_said(said.pop("geoseg").encode())
        return {"spec": spec, "other metadata": json.dumps(said, sort_keys=True).encode(), "weights": weights}

    def without_paths(self, content: bytes) -> bytes:
        """Something without the paths of this machine."""
        return content.replace(bytes(self.folder), b"HERE").replace(bytes(self.version), b"VERSION")


def without_seconds(values: Any) -> Any:
    """Values of JSON without what is called seconds."""
    if isinstance(values, dict):
        return {name: without_seconds(value) for name, value in values.items() if name != "seconds"}
    return [without_seconds(value) for value in values] if isinstance(values, list) else values


def clean_metrics(content: bytes) -> bytes:
    """A table of epochs without their seconds."""
    lines = csv.DictReader(io.StringIO(content.decode()))
    return json.dumps([{name: value for name, value in line.items() if name != "seconds"} for line in lines]).encode()


def clean_arrays(path: Path) -> bytes:
    """Arrays of class statistics without the key of the files that it is of."""
    with np.load(path) as arrays:
        return json.dumps({name: arrays[name].tolist() for name in arrays.files if name != "key"}).encode()


def clean_events(path: Path) -> bytes:
    """Events of TensorBoard without when they were written."""
    events = [
        (event.step, value.tag, value.SerializeToString().hex())
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if not value.tag.endswith("seconds")
    ]
    return json.dumps(events).encode()


# ----------------------------------------------------------------------------------------------------------- comparing


def found_in(source: Path, runs: list[Run], keep: Path | None = None) -> dict[str, Found]:
    """Digests of a version, or those that were recorded."""
    if source.is_dir():
        return digests_of(source, runs, keep)
    recorded: dict[str, Found] = json.loads(source.read_text("utf-8"))
    return {run.name: recorded[run.name] for run in runs if run.name in recorded}


def differences(before: dict[str, Found], after: dict[str, Found]) -> list[str]:
    """A line for each result that is not the same."""
    lines = []
    for run in sorted(before.keys() | after.keys()):
        one, other = before.get(run, {}), after.get(run, {})
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name):
                lines.append(f"{run}: {name}: {how_different(name, one.get(name), other.get(name))}")
    return lines


def how_different(name: str, before: str | None, after: str | None) -> str:
    """Say in a word or two how a result differs."""
    if before is None or after is None:
        return "only after" if before is None else "only before"
    return f"{before} before, {after} after" if name.endswith("exit code") else "differs"


def compare(before: dict[str, Found], after: dict[str, Found]) -> bool:
    """Say what differs; whether anything does."""
    lines = differences(before, after)
    print("\n".join(lines) if lines else "nothing differs")
    print(f"{sum(map(len, after.values())):,} results of {len(after)} runs, {len(lines):,} of them differ")
    return bool(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "compare", "list"))
    parser.add_argument("paths", nargs="*", type=Path, help="VERSION OUT.json, or BEFORE AFTER")
    parser.add_argument(
        "--only", default="", help="runs whose names fit this regular expression, and those that they need"
    )
    parser.add_argument("--keep", type=Path, help="folder for what was written, in before/ and after/")
    arguments = parser.parse_args()
    if len(arguments.paths) != (0 if arguments.what == "list" else 2):
        parser.error("record takes VERSION OUT.json, compare takes BEFORE AFTER, list nothing")
    return arguments


def main() -> None:
    """Record, or compare."""
    arguments = parse_arguments()
    runs = with_what_they_need(all_runs(), arguments.only)
    if arguments.what == "list":
        print("\n".join(f"{run.name}\n" + "\n".join(f"    geoseg {line}" for line in run.commands) for run in runs))
        return
    before, after = arguments.paths
    keep = [None, None] if arguments.keep is None else [arguments.keep / name for name in ("before", "after")]
    found = found_in(before, runs, keep[0])
    if arguments.what == "record":
        after.write_text(json.dumps(found, indent=1, sort_keys=True), "utf-8")
    elif compare(found, found_in(after, runs, keep[1])):
        sys.exit(1)


if __name__ == "__main__":
    main()
