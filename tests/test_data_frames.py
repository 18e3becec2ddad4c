import numpy as np
import pytest

from unetcore.data.frames import Frame, fold_names, read_frames, split_frames, write_frames
from unetcore.errors import InputError


def stack(n_train, n_test=0, test_labelled=False):
    names = [("train", z, True) for z in range(n_train)]
    names += [("test", z, test_labelled) for z in range(n_test)]
    return [
        Frame(index, f"{name}-{z:02d}", name, labelled, False, name)
        for index, (name, z, labelled) in enumerate(names)
    ]


def movies():
    """Two movies of three frames; 01-001 has no labels and 01-002 only some."""
    return [
        Frame(0, "01-000", "01", True, False, "train"),
        Frame(1, "01-001", "01", False, False, "train"),
        Frame(2, "01-002", "01", True, True, "train"),
        Frame(3, "02-000", "02", True, False, "train"),
        Frame(4, "02-001", "02", False, False, "train"),
        Frame(5, "02-002", "02", True, False, "train"),
    ]


def ids(frames):
    return [frame.id for frame in frames]


def test_frames_round_trip(tmp_path):
    write_frames(tmp_path / "new" / "frames.csv", movies())
    assert read_frames(tmp_path / "new" / "frames.csv") == movies()
    lines = (tmp_path / "new" / "frames.csv").read_text().splitlines()
    assert lines[0] == "index,id,sequence,labelled,partial,split"
    assert lines[3] == "2,01-002,01,true,true,train"


HEADER = "index,id,sequence,labelled,partial,split\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns '', expected 'index,id,"),
        ("index,name\n0,a\n", "columns 'index,name', expected"),
        (HEADER + "1,a,s,true,false,train\n", "line 2: index '1', expected 0"),
        (HEADER + "0,a,s,yes,false,train\n", "line 2: labelled 'yes', expected true or false"),
        (HEADER + "0,a,s,true,False,train\n", "line 2: partial 'False', expected true or false"),
        (HEADER + "0,a,s,true,false,val\n", "line 2: split 'val', expected train or test"),
        (HEADER + "0,a,s,true,false\n", "line 2: expected 6 values"),
        (HEADER + "0,a,s,true,false,train,x\n", "line 2: expected 6 values"),
        (HEADER + "0,a,s,true,false,train\n1,a,s,true,false,train\n", "id 'a' is used more than"),
    ],
)
def test_read_frames_names_the_line_and_the_rule(tmp_path, text, message):
    (tmp_path / "frames.csv").write_text(text)
    with pytest.raises(InputError, match=rf"frames\.csv: {message}"):
        read_frames(tmp_path / "frames.csv")


def test_read_frames_needs_a_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_frames(tmp_path / "frames.csv")


def test_five_blocks_of_thirty_slices_are_contiguous():
    frames = stack(30, n_test=30)
    training, test = split_frames(frames, {"blocks": 5}, "1")
    assert ids(test) == [f"train-{z:02d}" for z in range(6, 12)]
    assert ids(training) == [f"train-{z:02d}" for z in (*range(6), *range(12, 30))]


@pytest.mark.parametrize("seed", range(10))
def test_blocks_test_every_labelled_frame_once(seed):
    rng = np.random.default_rng(seed)
    frames = stack(int(rng.integers(3, 40)), n_test=2)
    n = int(rng.integers(2, min(len(frames) - 2, 8), endpoint=True))
    tested = []
    for fold in range(n):
        training, test = split_frames(frames, {"blocks": n}, str(fold))
        assert not set(training) & set(test)
        assert len(training) + len(test) == len(frames) - 2
        assert np.diff([frame.index for frame in test]).tolist() == [1] * (len(test) - 1)
        tested += test
    assert tested == frames[:-2]


def test_a_sequence_is_tested_as_a_whole():
    training, test = split_frames(movies(), {"by": "sequence"}, "02")
    assert ids(training) == ["01-000"]  # 01-002 is partly annotated
    assert ids(test) == ["02-000", "02-002"]


def test_partial_frames_are_tested_but_never_trained_on():
    training, test = split_frames(movies(), {"by": "sequence"}, "01")
    assert ids(training) == ["02-000", "02-002"]
    assert ids(test) == ["01-000", "01-002"]


@pytest.mark.parametrize("scheme", [{"blocks": 3}, {"by": "sequence"}])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_official_fold_tests_on_the_test_frames(scheme, labelled):
    frames = stack(6, n_test=2, test_labelled=labelled)
    training, test = split_frames(frames, scheme, "official")
    assert training == frames[:6]
    assert test == frames[6:]


def test_test_frames_with_labels_stay_out_of_all_other_folds():
    training, test = split_frames(stack(4, n_test=2, test_labelled=True), {"blocks": 2}, "0")
    assert ids([*test, *training]) == [f"train-{z:02d}" for z in range(4)]


@pytest.mark.parametrize(
    ("n", "chosen"),
    [
        (1, [18]),  # of the 24 slices 0 to 5 and 12 to 29: the one after twelve others
        (2, [12, 24]),  # after 6 and 18 others
        (5, [2, 13, 18, 22, 27]),  # after 2, 7, 12, 16 and 21
        (24, [*range(6), *range(12, 30)]),
        (None, [*range(6), *range(12, 30)]),
    ],
)
def test_few_training_frames_are_spread_over_those_outside_the_fold(n, chosen):
    frames = stack(30, n_test=30)
    training, test = split_frames(frames, {"blocks": 5, "training_frames": n}, "1")
    assert ids(training) == [f"train-{z:02d}" for z in chosen]
    assert test == split_frames(frames, {"blocks": 5}, "1")[1]


@pytest.mark.parametrize("seed", range(20))
def test_gaps_between_chosen_training_frames_differ_by_one_at_most(seed):
    rng = np.random.default_rng(seed)
    frames = stack(int(rng.integers(2, 60)), n_test=1)
    n = int(rng.integers(1, len(frames)))
    training, _ = split_frames(frames, {"blocks": 2, "training_frames": n}, "official")
    assert len(training) == n
    places = [frame.index for frame in training]
    gaps = np.diff(places)
    assert all(gaps >= 1)
    assert not n > 1 or np.ptp(gaps) <= 1
    before, after = places[0], len(frames) - 2 - places[-1]
    assert abs(before - after) <= 1


def test_few_training_frames_of_a_movie_without_those_that_are_annotated_in_part():
    scheme = {"by": "sequence", "training_frames": 1}
    assert ids(split_frames(movies(), scheme, "01")[0]) == ["02-002"]
    assert ids(split_frames(movies(), scheme, "02")[0]) == ["01-000"]


def test_fold_names():
    assert fold_names(movies(), {"by": "sequence", "training_frames": 9}) == ["01", "02"]
    assert fold_names(stack(6, n_test=1), {"blocks": 3}) == ["0", "1", "2", "official"]
    assert fold_names(movies(), {"by": "sequence"}) == ["01", "02"]


@pytest.mark.parametrize(
    ("frames", "scheme", "fold", "message"),
    [
        (movies(), {"by": "sequence"}, "03", "fold '03' is not among 01, 02"),
        (movies(), {"by": "sequence"}, "official", "fold 'official' is not among 01, 02"),
        (stack(6, 2), {"blocks": 2}, "2", "fold '2' is not among 0, 1, official"),
        (stack(6), {"blocks": 7}, "0", "folds of 7 blocks: expected 2 to 6"),
        (stack(6), {"blocks": 1}, "0", "folds of 1 blocks: expected 2 to 6"),
        (stack(6), {"by": "id"}, "0", r"folds \{'by': 'id'\}: expected"),
        (stack(6), {"blocks": 2, "by": "sequence"}, "0", r"folds \{.*\}: expected"),
        (
            movies(),
            {"by": "sequence", "training_frames": 2},
            "02",
            "training_frames 2: fold '02' leaves 1 to train on, need 1 to 1",
        ),
        (
            stack(6),
            {"blocks": 3, "training_frames": 0},
            "0",
            "training_frames 0: fold '0' leaves 4 to train on, need 1 to 4",
        ),
        (movies()[:4], {"blocks": 3}, "2", None),
        (movies()[:3], {"by": "sequence"}, "01", "fold '01': no fully labelled frame is left"),
    ],
)
def test_folds_that_do_not_exist(frames, scheme, fold, message):
    if message is None:  # the partial frame is a block of its own here, so two are left
        assert ids(split_frames(frames, scheme, fold)[0]) == ["01-000"]
        return
    with pytest.raises(InputError, match=message):
        split_frames(frames, scheme, fold)
