"""Early warnings: when they come, when they are taken back, and when not."""

import pytest
from training_cases import PAPER, changed

from unetcore.history import Progress
from unetcore.watch import WINDOW, Watch

LN_2 = 0.6931471805599453


def row(step, loss=0.3, foreground=0.5):
    return Progress(
        step=step, loss=loss, learning_rate=0.01, gradient_norm=1.0, foreground=foreground,
        tiles_per_second=1.0, seconds=float(step),
    )  # fmt: skip


@pytest.fixture
def watched(caplog):
    """Watch rows and return what was said of each, as (level, message)."""
    caplog.set_level("INFO")

    def see(rows, watch=None, **changes):
        watch = watch or Watch(LN_2, changed(PAPER, **changes))
        said = {}
        for each in rows:
            caplog.clear()
            watch(each)
            if caplog.records:
                said[each.step] = [(r.levelname, r.getMessage()) for r in caplog.records]
        return said

    return see


NOTHING_LEARNT = (
    "the loss is not below 0.6931, that of a constant prediction: the network has learnt nothing; "
    "look at the labels, or lower the learning rate"
)


def test_a_training_that_learns_gets_no_warning(watched):
    assert watched(row(step, loss=0.68) for step in range(20, 401, 20)) == {}


def test_trouble_is_said_once_and_taken_back_once(watched):
    # Means of five rows: 0.7 from step 100; 0.672 as long as 0.56 is one of them, steps 160 to 240.
    losses = [0.7] * 7 + [0.56, 0.7, 0.7, 0.7, 0.7] + [0.7] * 4
    rows = [row(20 * k, loss) for k, loss in enumerate(losses, start=1)]
    assert watched(rows) == {
        100: [("WARNING", f"step 100, last 100 steps: {NOTHING_LEARNT}")],
        160: [("INFO", f"step 160: no longer so: {NOTHING_LEARNT.partition(':')[0]}")],
        260: [("WARNING", f"step 260, last 100 steps: {NOTHING_LEARNT}")],
    }


def test_loss_is_judged_within_one_per_cent_of_the_constant_predictor(watched):
    assert watched([row(100, 0.9901 * LN_2)]).keys() == {100}
    assert watched([row(100, 0.9899 * LN_2)]) == {}


@pytest.mark.parametrize(
    ("share", "what"),
    [(0.0, "background"), (0.0009, "background"), (0.9991, "cell interior"), (1, "cell interior")],
)
def test_one_class_everywhere_is_said(watched, share, what):
    found = watched([row(100, foreground=share)])
    message = f"step 100, last 100 steps: nearly every pixel is predicted as {what}"
    assert found == {100: [("WARNING", message)]}


@pytest.mark.parametrize("share", [0.0011, 0.9989])
def test_a_rare_class_that_is_predicted_at_all_is_no_trouble(watched, share):
    assert watched([row(100, foreground=share)]) == {}


def test_a_short_training_is_judged_at_its_end(watched):
    rows = [row(20, 0.7), row(40, 0.7)]
    message = f"step 40, last 40 steps: {NOTHING_LEARNT}"
    assert watched(rows, steps=40, warmup_steps=0) == {40: [("WARNING", message)]}
    assert watched(rows, steps=41, warmup_steps=0) == {}
    assert watched(rows, steps=40, warmup_steps=20).keys() == {40}
    assert watched(rows, steps=40, warmup_steps=21) == {}  # the first row has warm-up, too
    assert watched([row(19, 0.7)], steps=19, warmup_steps=0) == {}


def test_the_warm_up_is_not_judged(watched):
    # 110 steps of warm-up: the row of steps 101 to 120 still has some of it.
    rows = [row(step, loss=5.0) for step in range(20, 201, 20)]
    assert watched(rows, warmup_steps=110) == {}
    assert watched([*rows, row(220, loss=5.0)], warmup_steps=110).keys() == {220}


def test_rows_count_by_their_steps(watched):
    # 100 steps of 0.6 and 20 of 1.0: on the mean 0.667; the mean of the two rows would be 0.8
    assert watched([row(100, 0.6), row(120, 1.0)]) == {}
    # A row of many steps is judged as a whole, and says of how many it is.
    (said,) = watched([row(400, 0.7)]).values()
    assert said == [("WARNING", f"step 400, last 400 steps: {NOTHING_LEARNT}")]


def test_a_resumed_training_is_judged_by_its_own_last_steps(watched, caplog):
    watch = Watch(LN_2, PAPER)
    watch.take_up([row(step, loss=0.7) for step in range(20, 501, 20)])
    assert caplog.records == []
    # One row of the new run and four of the old; it is not taken for 520 steps of 0.1.
    assert watched([row(520, loss=0.68)], watch).keys() == {520}
    fresh = Watch(LN_2, PAPER)
    fresh.take_up([])
    assert watched([row(WINDOW - 1, loss=0.7)], fresh) == {}
