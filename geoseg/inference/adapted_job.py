"""The network of a job, adapted to its scene as `--adapt` says: found once, and kept in the work folder.

In: a job whose work has begun. Out: the same job with the adapted network, in this process, in others and when resumed.
"""

from __future__ import annotations

from geoseg.core.events import Reporter
from geoseg.core.files import write_errors
from geoseg.inference.adapted import Adapted, adapt
from geoseg.inference.job import Job
from geoseg.inference.work_folder import WorkFolder

_NAME = "adapted.safetensors"


def adapt_job(job: Job, work: WorkFolder, reporter: Reporter) -> Job:
    """The job with its network adapted, unless its settings ask for none; found, if the work folder does not hold it.

    Raises:
        GeosegError: if the scene cannot be read, or the work folder cannot be written.
    """
    if job.resolved.adapt is None:
        return job
    path = work.path / _NAME
    if not work.seal(_NAME).exists():
        found = adapt(job.model, [job.source], job.resolved, job.runner.device, reporter)
        with write_errors(work.path.parent):
            found.save(path)
            work.seal_common(path)
    return _with(job, Adapted.load(path))


def adapted_job(job: Job, work: WorkFolder) -> Job:
    """The job with the network that `adapt_job` has adapted, perhaps in another process.

    Raises:
        OutputError: if the work folder does not hold it.
    """
    if job.resolved.adapt is None:
        return job
    if not work.seal(_NAME).exists():
        raise work.damage()
    return _with(job, Adapted.load(work.path / _NAME))


def _with(job: Job, found: Adapted) -> Job:
    for line in found.lines:
        job.log.notice(line)
    return job.with_network(found.of(job.model.module))
