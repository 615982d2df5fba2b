"""Output directories to report on, and a browser to look at the reports."""

import pytest

from batchstack.batch.jobs import Input
from batchstack.batch.ledger import Ledger
from batchstack.batch.records import Record
from batchstack.images import Written, write_image
from batchstack.report import write_report
from tests import browser
from tests.scenes import stack

SCRIPT = "<script>hacked=1</script>"
HANDLER = "\"'><img src=x onerror=hacked=1>"


BEST = "focus_stacked_bayesian.png"


class Outputs:
    """An output directory with the records of a ledger.

    Parameters
    ----------
    top : Path
    """

    def __init__(self, top):
        self.top = top

    @property
    def ledger(self):
        return Ledger(self.top)

    def report(self):
        """Write the report; the page of each stack by its id comes from `page`."""
        with self.ledger as ledger:
            return write_report(ledger, self.top)

    def fused(self, stack_id, names=(BEST,), scores=None, shape=(60, 800), **facts):
        """Record a stack whose outputs, and frames, are pictures somewhat larger than previews."""
        pictures = stack(shape, 2)
        frames = []
        for number, pixels in enumerate(pictures):
            path = self.top.parent / "frames" / stack_id / f"{number} #ü%41.png"
            write_image(path, pixels)
            frames.append(Input(str(path), path.stat().st_size, path.stat().st_mtime_ns, "d"))
        outputs = {
            name: write_image(
                self.top / stack_id / name, pictures[0][..., 0] if "depth" in name else pictures[0]
            )
            for name in names
        }
        record = Record({"levels": 5}, tuple(frames), outputs, scores or {})
        with self.ledger as ledger:
            ledger.append_done(stack_id, {"bayesian": record}, facts)
        return frames

    def failed(self, stack_id, error):
        with self.ledger as ledger:
            ledger.append_failed(stack_id, error)

    def recorded(self, count):
        """Record many stacks without files, of which every tenth has failed."""
        inputs = (Input("/a.jpg", 1, 2, "d"), Input("/b.jpg", 1, 2, "e"))
        with self.ledger as ledger:
            for number in range(count):
                stack_id = f"night/specimen_{number:05d}"
                if number % 10 == 3:
                    ledger.append_failed(stack_id, f"cards.csv:{number}: is damaged")
                    continue
                scores = {"focus_stacked_direct": {"Qabf": 0.5 + number / count / 4}}
                record = Record({}, inputs, {"focus_stacked_direct.jpg": Written(3)}, scores)
                ledger.append_done(stack_id, {"direct": record}, {"seconds": 2.5})


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "out")


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """The report of 5,000 stacks."""
    outputs = Outputs(tmp_path_factory.mktemp("many") / "out")
    outputs.recorded(5000)
    outputs.report()
    return outputs


@pytest.fixture
def hostile(outputs):
    """A report of stacks whose names, records and files hold what a browser might carry out."""
    with outputs.ledger as ledger:
        inputs = (Input(f"/{HANDLER}/{SCRIPT}", 1, 2, "d"),)
        record = Record(
            {SCRIPT: HANDLER, "levels": SCRIPT},
            inputs,
            {f"{HANDLER}.png": Written(3), "focus_stacked_bayesian.png": Written(3)},
            {HANDLER: {"Qabf": 0.5, SCRIPT: 1.0}, SCRIPT: {"Qabf": 0.4}},
        )
        facts = {
            "meta": {f"meta_{SCRIPT}": HANDLER},
            "versions": {HANDLER: SCRIPT},
            "align": [{"model": SCRIPT, "note": HANDLER}],
            "seconds": SCRIPT,
            "finished": 1e300,
        }
        ledger.append_done(f"a{HANDLER}", {"bayesian": record, SCRIPT: record}, facts)
        ledger.append_failed(f"b{SCRIPT}".replace("/", "\N{DIVISION SLASH}"), f"{HANDLER}{SCRIPT}")
        ledger.append_failed("c\u2028${hacked=1}", "</script><script>hacked=1</script>")
    outputs.report()
    return outputs


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A page in a real browser."""
    if browser.program() is None:
        pytest.skip("no Chromium is installed")
    with browser.Browser(tmp_path_factory.mktemp("profile")) as page:
        page.view()
        yield page
