"""How stacks are gone through: lazily, checked, on several threads, one slice in memory."""

import inspect
import threading
import time
import tracemalloc

import numpy as np
import pytest
from numba.extending import is_jitted

from unetcore import metrics
from unetcore.errors import InputError
from unetcore.metrics.slices import Slices, over_slices

ALL = [
    metrics.warping_error,
    metrics.rand_error,
    metrics.pixel_error,
    metrics.v_rand,
    metrics.v_info,
]
every_metric = pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)


@pytest.fixture(scope="module")
def stack():
    """Labels (7, 40, 48) of cells behind membranes, and a noisy map of them."""
    rng = np.random.default_rng(7)
    labels = np.ones((7, 40, 48), np.uint8)
    labels[:, ::8] = labels[:, :, 3::9] = 0
    probability = np.where(labels > 0, 0.75, 0.25) + rng.normal(0, 0.25, labels.shape)
    return labels, probability.clip(0, 1).astype(np.float32)


class OnDisk:
    """A stack that gives only single slices, as an array in a file would, and counts them."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.read = []

    def __getitem__(self, z):
        assert isinstance(z, int), f"{z!r} is not one slice"
        self.read.append(z)
        return self._array[z]


@every_metric
@pytest.mark.parametrize("threads", [2, 3, 16])
def test_result_is_the_same_for_any_number_of_threads(metric, threads, stack):
    assert metric(*stack, threads=threads) == metric(*stack)


@every_metric
@pytest.mark.parametrize("threads", [1, 2])
def test_stacks_are_read_slice_by_slice(metric, threads, stack):
    labels, probability = (OnDisk(array) for array in stack)
    assert metric(labels, probability, threads=threads) == metric(*stack)
    passes = len(labels.read) // 7  # a second one looks for places at the best threshold
    assert labels.read == probability.read == list(range(7)) * passes
    assert passes <= 2


def test_memory_maps_lists_and_zarr_arrays_are_stacks(stack, tmp_path):
    expected = metrics.rand_error(*stack)
    maps = []
    for name, array in zip(("labels", "probability"), stack, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
        maps.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    assert metrics.rand_error(*maps, threads=2) == expected
    assert metrics.rand_error(*(array.tolist() for array in stack)) == expected


def test_zarr_arrays_are_stacks(stack):
    zarr = pytest.importorskip("zarr", reason="Zarr is not installed")
    arrays = [zarr.array(array, chunks=(1, *array.shape[1:])) for array in stack]
    assert metrics.rand_error(*arrays, threads=2) == metrics.rand_error(*stack)
    assert metrics.v_info(*(a[0] for a in arrays)) == metrics.v_info(*(a[0] for a in stack))


def test_slices_of_an_image_are_itself():
    image = np.arange(6).reshape(2, 3)
    slices = Slices(image, "labels")
    assert slices.shape == (1, 2, 3)
    np.testing.assert_array_equal(list(slices), image[None])


def test_slices_are_called_by_their_own_names(stack):
    labels, probability = stack[0].copy(), stack[1]
    labels[2] = 0
    frames = [f"01-{z:03}" for z in range(7)]
    named = Slices(labels, "gold.tif", frames=frames), Slices(probability, "p.tif")
    with pytest.raises(InputError, match=r"^gold\.tif, frame 01-002: no white pixel"):
        metrics.v_info(*named)
    with pytest.raises(InputError, match=r"^p\.tif, slice 0: 3.0 at y = 0"):
        metrics.pixel_error(labels, Slices(probability * 0 + 3, "p.tif"))
    with pytest.raises(
        InputError, match=r"^gold\.tif \(7, 40, 48\) and labels \(6, 40, 48\): the shapes must"
    ):
        metrics.pixel_error(named[0], Slices(probability[:6], "labels"))
    assert metrics.pixel_error(*named) == metrics.pixel_error(labels, probability)


def test_there_is_one_slice_for_each_frame(stack):
    with pytest.raises(InputError, match=r"^p\.tif: 7 slices for 2 frames$"):
        Slices(stack[1], "p.tif", frames=["a", "b"])


def test_results_come_in_the_order_of_slices_whoever_is_first(stack):
    def late_first(z, white, values):
        time.sleep(0.02 * (z == 0))
        return z

    assert list(over_slices(late_first, *stack, threads=3)) == list(range(7))


def test_slices_are_judged_at_the_same_time(stack):
    """Two threads wait for each other: on one thread neither would ever come."""
    meeting = threading.Barrier(2, timeout=30)
    labels, probability = (array[:6] for array in stack)
    met = over_slices(lambda *_: meeting.wait(), labels, probability, threads=2)
    assert sorted(met) == [0, 0, 0, 1, 1, 1]


def test_compiled_functions_let_other_threads_run():
    """Each is compiled with nogil: else slices would be judged one after the other."""
    compiled = {
        f"{name}.{function}": value
        for name, module in inspect.getmembers(metrics, inspect.ismodule)
        for function, value in inspect.getmembers(module, is_jitted)
    }
    assert {"pairs._sweep", "topology._warp", "thinning._flood"} <= set(compiled)
    assert [name for name, f in compiled.items() if not f.targetoptions.get("nogil")] == []


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_few_slices_are_in_flight(threads, stack):
    labels, probability = (np.tile(array, (5, 1, 1)) for array in stack)
    labels = OnDisk(labels)
    for done, _ in enumerate(over_slices(lambda *_: None, labels, probability, threads=threads)):
        assert len(labels.read) - done <= 2 * threads


@pytest.mark.parametrize("threads", [1, 3])
def test_first_bad_slice_is_named_whatever_the_threads(threads, stack):
    labels, probability = stack[0].copy(), stack[1].copy()
    labels[2] = 0
    probability[[4, 5], 1, 3] = np.nan
    with pytest.raises(InputError, match="labels, slice 2: no white pixel"):
        metrics.v_rand(labels, probability, threads=threads)
    with pytest.raises(InputError, match="probability, slice 4: nan at y = 1, x = 3"):
        metrics.pixel_error(labels, probability, threads=threads)


@every_metric
@pytest.mark.parametrize("threads", [0, -1, 1.5, None, np.nan, "2"])
def test_number_of_threads_is_checked(metric, threads, stack):
    with pytest.raises(InputError, match=f"^threads {threads!r}: a whole number >= 1"):
        metric(*stack, threads=threads)


@every_metric
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_does_not_grow_with_the_stack(metric, threads, monkeypatch):
    """The stack is one slice, repeated without a copy; the map is noise, so places abound.

    To keep a byte for every pixel of the 60 slices more would take twice what is allowed.
    """
    monkeypatch.setattr("unetcore.metrics.places.MOST_PLACES", 10)
    noise = np.random.default_rng(0).random((120, 160), np.float32)
    labels = np.ones(noise.shape, np.uint8)
    labels[::8] = labels[:, ::8] = 0

    def peak(n_slices, threads):
        pair = [np.broadcast_to(a, (n_slices, *a.shape)) for a in (labels, noise)]
        tracemalloc.start()
        try:
            metric(*pair, thresholds=[0.5], threads=threads)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1, 1)  # what is made once, on the first call
    assert peak(70, threads) < threads * peak(10, 1) + 30 * labels.size
