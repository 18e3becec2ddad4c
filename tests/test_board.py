"""TensorBoard: what is read back from the event files is what was written."""

import errno
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from unetcore.board import SCALARS, Board
from unetcore.errors import InputError
from unetcore.history import Progress

EVERYTHING = {"scalars": 0, "images": 0}


@pytest.fixture(autouse=True)
def files_of_a_process_that_has_just_begun(monkeypatch):
    """TensorBoard sorts files by name: of one second, a process's tenth comes before its ninth."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def row(step, seed=0):
    values = np.random.default_rng([step, seed]).uniform(0, 5, 6)
    return Progress(step, *values.tolist())


def read(folder):
    events = EventAccumulator(str(folder), size_guidance=EVERYTHING)
    return events.Reload()


def curve(folder, tag):
    return {event.step: event.value for event in read(folder).Scalars(tag)}


def test_curves_of_a_training_are_its_history(tmp_path):
    rows = [row(step) for step in (20, 40, 60)]
    with Board(tmp_path / "board") as board:
        for one in rows:
            board.add_progress(one)
    assert set(read(tmp_path / "board").Tags()["scalars"]) == set(SCALARS)
    for name in SCALARS:
        expected = {one.step: np.float32(getattr(one, name)) for one in rows}
        assert curve(tmp_path / "board", name) == expected


def test_values_and_picture_of_a_validation(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (7, 15), dtype=np.uint8)
    with Board(tmp_path) as board:
        board.add_validation(20, {"loss": 0.5, "rand_error": 0.125}, picture)
        board.add_validation(40, {"loss": 0.25, "rand_error": 0.0625})
        # Nothing is closed yet: what was measured can be seen at once.
        assert curve(tmp_path, "validation/loss") == {20: 0.5, 40: 0.25}
    assert curve(tmp_path, "validation/rand_error") == {20: 0.125, 40: 0.0625}
    (image,) = read(tmp_path).Images("validation/slice")
    assert (image.step, image.height, image.width) == (20, 7, 15)
    shown = decoded(image.encoded_image_string, tmp_path / "shown.png")
    for channel in range(3):
        np.testing.assert_array_equal(shown[..., channel], picture)


def decoded(png, path):
    """Values 0 to 255 of a PNG file's content."""
    from matplotlib.image import imread

    path.write_bytes(png)
    return np.round(255 * imread(path)[..., :3])


def interrupted(folder):
    """Events of a training that was killed after step 60."""
    with Board(folder) as board:
        for step in (20, 40, 60):
            board.add_progress(row(step))
            board.add_validation(step, {"seg": step / 64})


def test_a_resumed_training_replaces_what_it_does_again(tmp_path):
    interrupted(tmp_path)
    with Board(tmp_path) as board:  # from a state of step 30
        for step in (40, 60, 80):
            board.add_progress(row(step, seed=1))
    found = curve(tmp_path, "loss")
    again = {step: np.float32(row(step, seed=1).loss) for step in (40, 60, 80)}
    assert found == {20: np.float32(row(20).loss), **again}
    # What the new part has not said again is gone too.
    assert curve(tmp_path, "validation/seg") == {20: 20 / 64}


@pytest.mark.parametrize(
    ("step", "kept"), [(0, []), (20, [20]), (45, [20, 40]), (60, [20, 40, 60])]
)
def test_a_rewind_hides_later_steps(tmp_path, step, kept):
    interrupted(tmp_path)
    with Board(tmp_path) as board:
        board.rewind(step)
        board.add_progress(row(100))
    assert list(curve(tmp_path, "loss")) == [*kept, 100]


def test_nothing_is_written_before_the_first_event(tmp_path):
    with Board(tmp_path / "board"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closing", [False, True])
def test_a_folder_that_cannot_be_written_is_warned_of_once(tmp_path, caplog, closing):
    class Full:
        def __init__(self, folder, **how):
            pass

        def add_scalar(self, *event):
            if not closing:
                raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    board = Board(tmp_path)
    board._open = Full
    for step in (20, 40):
        board.add_progress(row(step))
    board.close()
    board.close()
    assert caplog.messages == [
        f"{tmp_path}: no more events for TensorBoard: No space left on device"
    ]


def test_a_file_in_the_place_of_the_folder_does_not_stop_a_training(tmp_path, caplog):
    (tmp_path / "board").write_text("")
    with Board(tmp_path / "board") as board:
        board.add_progress(row(20))
        board.add_validation(20, {"seg": 0.5})
    (message,) = caplog.messages
    assert "no more events for TensorBoard" in message


def test_without_the_package_the_way_out_is_named(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"needs the package tensorboard: pip install unetcore\["):
        Board(tmp_path)
