from geoseg.core.events import SILENT, NoticeLog, Progress, Reporter, Stage


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


def test_a_stage_counts_what_is_done_of_it():
    kept = Kept()
    stage = Stage(kept, "reading", 10, done=3)
    stage.advance()
    stage.advance(5)
    assert kept.seen == [Progress("reading", 3, 10), Progress("reading", 8, 10)]
