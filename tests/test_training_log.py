"""What trainings left on record is read as it was written."""

import pytest

from unetcore.errors import InputError
from unetcore.history import Progress, history_table
from unetcore.training_log import read_history, read_validation


def test_history_is_read_as_it_was_written(tmp_path):
    rows = [Progress(20, 0.5, 1e-3, 2.0, 0.25, 4.0, 5.0), Progress(40, 0.1 + 0.2, 3e-4, 1, 0, 2, 9)]
    path = tmp_path / "history.csv"
    path.write_bytes(history_table(rows))
    read = read_history(path)
    assert read.step.tolist() == [20, 40]
    assert read.loss.tolist() == [0.5, 0.1 + 0.2]
    assert read.learning_rate.tolist() == [1e-3, 3e-4]


def test_validation_file_is_read_by_name_and_may_have_no_row(tmp_path):
    path = tmp_path / "validation.csv"
    path.write_text("step,seconds,loss,seg\n20,1.5,0.5,0.25\n40,1.5,0.4,0.75\n")
    read = read_validation(path)
    assert read.step.tolist() == [20, 40]
    values = {name: value.tolist() for name, value in read.values.items()}
    assert values == {"loss": [0.5, 0.4], "seg": [0.25, 0.75]}
    path.write_text("step,seconds,loss,seg\n")
    assert read_validation(path).step.size == 0


@pytest.mark.parametrize("header", ["", "step,loss,seg", "step,seconds,loss,dice"])
def test_bad_validation_file_is_refused(tmp_path, header):
    path = tmp_path / "validation.csv"
    path.write_text(f"{header}\n")
    with pytest.raises(InputError, match=r"validation\.csv: columns .*: need step, seconds, loss"):
        read_validation(path)


def test_history_is_read_by_column_name(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("step,loss,learning_rate,tiles_per_second,seconds\n20,0.5,0.001,4,5\n")
    read = read_history(path)
    assert (read.step[0], read.loss[0], read.learning_rate[0]) == (20, 0.5, 0.001)


def test_history_of_a_course_that_was_not_kept_has_no_row(tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes(history_table([]))
    assert read_history(path).step.size == 0


def test_bad_history_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("step,loss\n1,2\n")
    with pytest.raises(InputError, match="'learning_rate' is missing"):
        read_history(path)
