"""Calling a script's `main`: what a rule passes, what a shell passes, and how it ends."""

import errno
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from unetcore.errors import InputError, Interrupted
from unetcore.script import run

logger = logging.getLogger("test")

pytestmark = pytest.mark.usefixtures("root_logger")


@dataclass(frozen=True)
class Settings:
    height: float
    width: int


@pytest.fixture
def rule(tmp_path):
    """Make a stand-in for Snakemake's object."""

    def make(input=None, output=None, params=None, **changes):
        smk = dict(
            rule="weigh", input=input or {}, output=output or {}, params=params or {}, threads=3,
            wildcards={"dataset": "em"}, log=[str(tmp_path / "rule.log")],
        )  # fmt: skip
        return SimpleNamespace(**(smk | changes))

    return make


def log_of(smk):
    for handler in logging.getLogger().handlers:
        handler.flush()
    return Path(smk.log[0]).read_text()


def test_a_rule_calls_main_with_its_names(rule):
    def main(labels: Path, weights: Path, *, w0: float, names: list) -> dict:
        return {"labels": labels, "weights": weights, "w0": w0, "names": names}

    smk = rule({"labels": "a.tif"}, {"weights": "b.tif"}, {"w0": 10, "names": ["x", "y"]})
    assert run(main, smk) == {
        "labels": Path("a.tif"), "weights": Path("b.tif"), "w0": 10, "names": ["x", "y"],
    }  # fmt: skip


def test_paths_alone_in_lists_and_absent(rule):
    def main(one: Path, some: list[Path], single: list[Path], there: Path | None,
             absent: Path | None) -> tuple:  # fmt: skip
        return one, some, single, there, absent

    smk = rule({"one": "a", "some": ["b", "c"], "single": "d", "there": "e", "absent": []})
    assert run(main, smk) == (Path("a"), [Path("b"), Path("c")], [Path("d")], Path("e"), None)


def test_a_dict_becomes_the_dataclass_of_its_parameter(rule):
    def main(*, settings: Settings, plain: dict) -> tuple:
        return settings, plain

    given = {"height": 10.0, "width": 5}
    smk = rule(params={"settings": given, "plain": given})
    assert run(main, smk) == (Settings(10.0, 5), given)


def test_what_main_does_not_ask_for_is_kept_from_it(rule):
    def main(*, w0: float) -> float:
        return w0

    assert run(main, rule(params={"w0": 1.0, "code": "0123456789ab"})) == 1.0


def test_what_main_asks_for_is_given_to_it(rule):
    def main(*, code: str, threads: int, wildcards: dict) -> tuple:
        return code, threads, wildcards

    smk = rule(params={"code": "0123456789ab"})
    assert run(main, smk) == ("0123456789ab", 3, {"dataset": "em"})


def test_a_rule_that_passes_too_much_is_told_what(rule):
    def main(labels: Path) -> None:
        raise AssertionError("must not be called")

    smk = rule({"labels": "a"}, {"weights": "b"}, {"sigma": 5})
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 1
    message = (
        r"TypeError: rule weigh passes \['sigma', 'weights'\], which its main\(\) does not take"
    )
    assert re.search(message, log_of(smk))


def test_a_rule_that_passes_too_little_is_told_what(rule):
    def main(labels: Path, *, sigma: float) -> None:
        raise AssertionError("must not be called")

    smk = rule({"labels": "a"})
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 1
    assert "missing 1 required keyword-only argument: 'sigma'" in log_of(smk)


def test_bad_input_ends_with_its_line_and_code_2(rule, capsys):
    def main() -> None:
        raise InputError("a.tif: value 7: the rule it breaks")

    smk = rule()
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 2
    (line,) = log_of(smk).splitlines()
    assert line.endswith(" a.tif: value 7: the rule it breaks")
    assert capsys.readouterr().err == line + "\n"


def test_a_loss_that_is_not_finite_ends_with_its_line_and_code_2(rule):
    def main() -> None:
        raise FloatingPointError("loss is nan at step 7: lower the learning rate")

    smk = rule()
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 2
    (line,) = log_of(smk).splitlines()
    assert line.endswith(" loss is nan at step 7: lower the learning rate")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_ends_with_its_line_and_128_more(rule, number, code):
    def main() -> None:
        raise Interrupted(number, "stopped at step 7 of 10: the state is kept")

    smk = rule()
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == code
    (line,) = log_of(smk).splitlines()
    assert line.endswith(" stopped at step 7 of 10: the state is kept")


def test_an_interruption_passes_from_process_to_process():
    stop = pickle.loads(pickle.dumps(Interrupted(15, "stopped at step 7")))
    assert (stop.signal, str(stop), stop.exit_code) == (15, "stopped at step 7", 143)


def test_settings_that_break_a_rule_are_bad_input(rule):
    @dataclass(frozen=True)
    class Checked:
        width: int

        def __post_init__(self):
            raise InputError(f"width {self.width}: must be odd")

    def main(*, settings: Checked) -> None:
        raise AssertionError("must not be called")

    with pytest.raises(SystemExit) as stopped:
        run(main, rule(params={"settings": {"width": 4}}))
    assert stopped.value.code == 2


def test_a_bug_keeps_its_traceback(rule, capsys):
    def main() -> None:
        raise KeyError("not there")

    smk = rule()
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 1
    text = log_of(smk)
    assert "this is a bug in the program, not in your input" in text
    assert text.count("Traceback (most recent call last)") == 1
    assert f'File "{__file__}"' in text
    assert text.rstrip().endswith("KeyError: 'not there'")
    assert capsys.readouterr().err == text


@pytest.mark.parametrize(
    ("filename", "named"), [("/disk/out.tif", "/disk/out.tif"), (None, "output")]
)
def test_a_full_disk_is_no_bug(rule, filename, named):
    def main() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", filename)

    smk = rule()
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 2
    (line,) = log_of(smk).splitlines()
    assert line.endswith(f" {named}: no space left on the disk")


@pytest.mark.parametrize(
    ("code", "words"), [(errno.EROFS, "the disk is read-only"), (errno.EACCES, "no permission")]
)
def test_a_disk_that_cannot_be_written_is_no_bug(rule, code, words):
    def main() -> None:
        raise OSError(code, os.strerror(code), "out.tif")

    smk = rule()
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 2
    (line,) = log_of(smk).splitlines()
    assert line.endswith(f" out.tif: {words}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_on_a_full_disk_stops_nothing(rule, capfd):
    def main() -> None:
        logger.info("goes on")

    run(main, rule(log=["/dev/full"]))
    err = capfd.readouterr().err
    assert err.endswith(" goes on\n")
    assert "Logging error" not in err


def test_a_read_only_disk_is_one_line_even_where_the_log_lies_on_it(rule, monkeypatch, caplog):
    def refuse(path, mode):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    def main() -> None:
        pytest.fail("began without its log")

    smk = rule()
    monkeypatch.setattr("unetcore.script._LogFile", refuse)
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 2
    assert caplog.messages == [f"{smk.log[0]}: the disk is read-only"]


def test_another_failure_of_the_system_is_a_bug(rule):
    def main() -> None:
        Path("/absent/file").read_text()

    smk = rule()
    with pytest.raises(SystemExit) as stopped:
        run(main, smk)
    assert stopped.value.code == 1
    assert "FileNotFoundError" in log_of(smk)


def test_messages_go_to_the_log_of_the_rule_and_to_stderr(rule, capsys):
    def main() -> None:
        logger.info("weights %.2f to %.2f", 1, 2)
        logger.debug("not shown")

    smk = rule()
    Path(smk.log[0]).write_text("of an earlier attempt\n")
    run(main, smk)
    assert re.fullmatch(r"\d\d:\d\d:\d\d weights 1\.00 to 2\.00\n", log_of(smk))
    assert capsys.readouterr().err == log_of(smk)


def test_log_of_an_earlier_attempt_is_kept_where_its_work_goes_on(rule):
    def main() -> None:
        logger.info("goes on")

    smk = rule()
    Path(smk.log[0]).write_text("of an earlier attempt\n")
    run(main, smk, keep_log=True)
    assert re.fullmatch(r"of an earlier attempt\n\d\d:\d\d:\d\d goes on\n", log_of(smk))


def test_a_rule_without_a_log_logs_to_stderr(rule, capsys):
    def main() -> None:
        logger.info("done")

    run(main, rule(log=[]))
    assert capsys.readouterr().err.endswith(" done\n")


def shell_main(labels: Path, weights: Path, *, w0: float = 10.0, names: list[str] | None = None):
    """Stand-in for a script."""
    return labels, weights, w0, names


def test_a_shell_gives_names_and_values():
    argv = ["--labels", "a.tif", "--weights", "b.tif", "--w0", "2.5", "--names", "x", "y"]
    assert run(shell_main, argv=argv) == (Path("a.tif"), Path("b.tif"), 2.5, ["x", "y"])


def test_a_shell_gives_the_fields_of_a_dataclass():
    def main(labels: Path, *, settings: Settings) -> tuple:
        return labels, settings

    argv = ["--labels", "a", "--settings.height", "10", "--settings.width", "5"]
    assert run(main, argv=argv) == (Path("a"), Settings(10.0, 5))


def test_a_shell_that_forgets_a_name_is_told_which(capsys):
    with pytest.raises(SystemExit) as stopped:
        run(shell_main, argv=["--labels", "a.tif"])
    assert stopped.value.code == 2
    assert "--weights" in capsys.readouterr().err


def test_a_script_started_from_a_shell(tmp_path):
    script = tmp_path / "weigh.py"
    script.write_text(
        "from pathlib import Path\n"
        "from unetcore.errors import InputError\n"
        "from unetcore.script import run\n"
        "def main(labels: Path, *, w0: float) -> None:\n"
        "    raise InputError(f'{labels}: w0 = {w0}: must be >= 0')\n"
        "run(main, globals().get('snakemake'))\n"
    )
    done = subprocess.run(
        [sys.executable, script, "--labels", "a.tif", "--w0", "-1"],
        cwd=Path(__file__).parents[1], env={"PYTHONPATH": "."}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(r"\d\d:\d\d:\d\d a\.tif: w0 = -1\.0: must be >= 0\n", done.stderr)
    assert done.stdout == ""
