from geoseg.core.events import SILENT, NoticeLog, Progress, Reporter


class Kept(Reporter):
    def __init__(self):
        self.seen = []

    def notice(self, line):
        self.seen.append(line)

    def progress(self, progress):
        self.seen.append(progress)


def test_a_log_keeps_notices_and_passes_everything_on():
    kept = Kept()
    log = NoticeLog(kept)
    log.notice("a")
    log.progress(Progress("reading", 1, 2))
    assert log.lines == ["a"]
    assert kept.seen == ["a", Progress("reading", 1, 2)]


def test_silence_takes_everything():
    SILENT.notice("a")
    SILENT.progress(Progress("reading", 1, 2))
