"""Images written chunk by chunk: what is there is finished, and viewers can read it."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import zarr
from ome_zarr_models.v04.image import ImageAttrs

from unetcore.data.ome_zarr import Chunk, create_image, halved, n_levels, open_image, remove_image
from unetcore.data.stacks import Scale, open_stack
from unetcore.errors import InputError

SCALE = Scale((30.0, 4.0, 5.0), "nanometer")
SHAPE = (2, 1300, 700)  # 3 x 2 chunks of 512 px an image, and two coarser copies


def random_values(rng, target, chunk):
    rows, columns = target.place(chunk)
    return rng.random((rows.stop - rows.start, columns.stop - columns.start), np.float32)


@pytest.fixture
def target(tmp_path):
    return create_image(tmp_path / "p.zarr", SHAPE, 512, {"model": "a"}, SCALE)


def written(target, seed=0):
    """Write every chunk; the values as one array."""
    rng, whole = np.random.default_rng(seed), np.empty(SHAPE, np.float32)
    for chunk in target.chunks():
        values = random_values(rng, target, chunk)
        target.write(chunk, values)
        whole[chunk.z, *target.place(chunk)] = values
    return whole


def test_chunks_cover_the_stack_and_each_pixel_once(target):
    n_filled = np.zeros(SHAPE, int)
    for chunk in target.chunks():
        n_filled[chunk.z, *target.place(chunk)] += 1
    assert (n_filled == 1).all()
    assert target.chunks()[1] == Chunk(0, 0, 1)
    assert len(target.chunks()) == 12


def test_what_is_written_is_there_for_the_next_process(target):
    chunk = Chunk(1, 2, 0)
    values = random_values(np.random.default_rng(0), target, chunk)
    target.write(chunk, values)
    again = open_image(target.path)
    assert again.record == {"model": "a"}
    assert again.is_written(chunk)
    assert set(again.missing()) == set(target.chunks()) - {chunk}
    stored = zarr.open_array(target.path / "0", mode="r")
    np.testing.assert_array_equal(stored[1, 1024:, :512], values)
    assert np.isnan(stored[0]).all()


def test_a_chunk_of_zeros_counts_as_written(target):
    target.write(Chunk(0, 0, 0), np.zeros((512, 512), np.float32))
    assert target.is_written(Chunk(0, 0, 0))


def test_finished_image_has_coarser_copies_where_viewers_look_for_them(target):
    whole = written(target)
    target.finish()
    stored = zarr.open_group(target.path, mode="r")
    (described,) = ImageAttrs.model_validate(stored.attrs.asdict()).multiscales
    assert [dataset.path for dataset in described.datasets] == ["0", "1", "2"]
    assert {axis.unit for axis in described.axes} == {"nanometer"}
    scale, shift = described.datasets[2].coordinateTransformations
    assert scale.scale == [30.0, 16.0, 20.0]
    assert shift.translation == [0.0, 6.0, 7.5]  # of 4 px, whose centres are 0 to 3 px away
    np.testing.assert_array_equal(stored["0"][:], whole)
    for z in range(2):
        twice = halved(whole[z])
        np.testing.assert_array_equal(stored["1"][z], twice)
        np.testing.assert_array_equal(stored["2"][z], halved(twice))
    assert open_stack(target.path).scale == SCALE


@pytest.mark.parametrize("axes", ["tzyx", "tyx", "yx"])
def test_images_of_other_axes(tmp_path, axes):
    counted = (3, 2)[: len(axes) - 2]
    target = create_image(tmp_path / "p.zarr", (*counted, 700, 600), 512, {}, SCALE, axes)
    assert target.shape == (int(np.prod(counted)), 700, 600)
    assert len(target.chunks()) == 4 * target.shape[0]
    rng, whole = np.random.default_rng(0), np.zeros(target.shape, np.float32)
    last = target.chunks()[-1]
    for chunk in target.chunks():
        whole[chunk.z, *target.place(chunk)] = values = random_values(rng, target, chunk)
        if chunk != last:
            target.write(chunk, values)
    key = "/".join(str(n - 1) for n in (*counted, 2, 2))
    with pytest.raises(InputError, match=f"not predicted yet, the first is {key}"):
        target.finish()
    target.write(last, values)
    target.finish()
    stored = zarr.open_group(target.path, mode="r")
    np.testing.assert_array_equal(stored["0"][:], whole.reshape(*counted, 700, 600))
    np.testing.assert_array_equal(
        stored["1"][:].reshape(-1, 350, 300), np.stack([halved(image) for image in whole])
    )
    (described,) = ImageAttrs.model_validate(stored.attrs.asdict()).multiscales
    assert "".join(axis.name for axis in described.axes) == axes
    stack = open_stack(target.path)
    np.testing.assert_array_equal(np.stack(list(stack)), whole)
    assert stack.axes == axes.upper()
    assert stack.scale.voxel[1:] == SCALE.voxel[1:]


def test_halved_is_the_mean_of_four_and_at_an_odd_border_of_two():
    image = np.array([[1, 3, 10], [5, 7, 30], [2, 4, 100]], np.float32)
    assert halved(image).tolist() == [[4.0, 20.0], [3.0, 100.0]]


@pytest.mark.parametrize(
    ("side", "n"), [(1, 1), (512, 1), (513, 2), (1024, 2), (1025, 3), (16384, 6)]
)
def test_copies_until_an_image_is_small_enough(side, n):
    assert n_levels((3, 1, side)) == n


def test_an_image_with_a_hole_is_not_finished(target):
    written(target)
    (target.path / "0/1/0/1").unlink()
    with pytest.raises(
        InputError, match="1 of 12 chunks are not predicted yet, the first is 1/0/1"
    ):
        target.finish()
    with pytest.raises(InputError, match="1 of 12 chunks are missing"):
        open_stack(target.path)


def test_a_finish_that_was_cut_short_goes_on(target):
    written(target)
    target.finish()
    before = {p: p.stat().st_mtime_ns for p in (target.path / "1").rglob("*") if p.is_file()}
    lost = target.path / "1/0/0/0"
    expected = lost.read_bytes()
    lost.unlink()
    abandoned, at_work = target.path / "0/0/0/.0.old", target.path / "0/0/0/.0.new"
    abandoned.mkdir()
    at_work.mkdir()
    os.utime(abandoned, (0, 0))
    open_image(target.path).finish()
    assert lost.read_bytes() == expected
    assert all(p.stat().st_mtime_ns == t for p, t in before.items() if p != lost)
    assert not abandoned.exists()
    assert at_work.exists()


def test_damaged_chunk_is_named(target):
    written(target)
    (target.path / "0/1/2/0").write_bytes(b"no blosc")
    with pytest.raises(InputError, match="0: damaged around image 1, row 1024, column 0") as error:
        target.finish()
    assert "\n" not in str(error.value)


def test_an_empty_file_is_no_chunk(target):
    written(target)
    (target.path / "0/1/2/0").write_bytes(b"")
    assert open_image(target.path).missing() == [Chunk(1, 2, 0)]


def test_a_process_stops_when_another_has_made_the_image_anew(target):
    values = np.zeros((512, 512), np.float32)
    remove_image(target.path)
    with pytest.raises(InputError, match="another process has made it anew"):
        target.write(Chunk(0, 0, 0), values)
    assert not target.path.exists()
    anew = create_image(target.path, SHAPE, 512, {"model": "a"}, SCALE)
    with pytest.raises(InputError, match="another process has made it anew"):
        target.write(Chunk(0, 0, 0), values)
    anew.write(Chunk(0, 0, 0), values)
    assert [path.name for path in target.path.parent.iterdir()] == ["p.zarr"]


def test_of_two_that_begin_at_the_same_time_one_makes_the_image(target):
    target.write(Chunk(0, 0, 0), np.zeros((512, 512), np.float32))
    other = create_image(target.path, SHAPE, 512, {"model": "b"}, SCALE)
    assert other.record == {"model": "a"}
    assert other.is_written(Chunk(0, 0, 0))
    assert [path.name for path in target.path.parent.iterdir()] == ["p.zarr"]


def test_what_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "p.zarr").mkdir()
    (tmp_path / "p.zarr/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"p\.zarr: exists, and is no prediction of ours"):
        open_image(tmp_path / "p.zarr")
    zarr.save_array(tmp_path / "a.zarr", np.ones((3, 4)))
    with pytest.raises(InputError, match=r"a\.zarr: exists, and is no prediction of ours"):
        open_image(tmp_path / "a.zarr")


def test_other_settings_are_named_with_both_values(target):
    target.refuse_unlike({"model": "a"})
    with pytest.raises(InputError, match='model "a", now "b"'):
        target.refuse_unlike({"model": "b"})
    with pytest.raises(InputError, match="chunk absent, now 64"):
        target.refuse_unlike({"chunk": 64})


FULL_DISK = """
import json, resource, sys
import numpy as np
from unetcore.data.ome_zarr import Chunk, open_image
target = open_image(sys.argv[1])
target.write(Chunk(0, 0, 0), np.zeros((512, 512), np.float32))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    target.write(Chunk(0, 0, 1), np.random.default_rng(0).random((512, 188), np.float32))
except OSError as error:
    print(json.dumps([error.errno, str(error.filename)]))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of file sizes here")
def test_on_a_full_disk_finished_chunks_stay(target):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, target.path], capture_output=True, text=True, check=True
    )
    errno, name = json.loads(done.stdout)
    assert (errno, name) == (27, str(target.path))  # EFBIG
    assert [chunk for chunk in target.chunks() if target.is_written(chunk)] == [Chunk(0, 0, 0)]


def test_an_unknown_distance_of_slices_stays_unknown(tmp_path):
    scale = Scale((None, 0.25, 0.25), "micrometer")
    target = create_image(tmp_path / "p.zarr", (2, 60, 50), 32, {}, scale, "zyx")
    (described,) = zarr.open_group(target.path, mode="r").attrs["multiscales"]
    assert [axis.get("unit") for axis in described["axes"]] == [None, "micrometer", "micrometer"]
    assert open_stack(target.path, fill_missing=True).scale == scale
