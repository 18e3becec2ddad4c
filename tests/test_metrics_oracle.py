"""Every metric against the values that the official program printed.

The synthetic cases lie in `oracle_cases`; those cut from challenge labels may not be copied and are
read from the folder that UNET_ORACLE names. The images are the program's at threshold 0.5.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetcore import metrics
from unetcore.errors import InputError
from unetcore.metrics.components import label_components
from unetcore.metrics.thinning import thin

OWN_CASES = Path(__file__).parent / "oracle_cases"


def cases():
    own = json.loads((OWN_CASES / "expected.json").read_text())
    found = [pytest.param(OWN_CASES / name, own[name], id=name) for name in own]
    if "UNET_ORACLE" not in os.environ:
        reason = "UNET_ORACLE names no folder: the cases cut from challenge labels are not here"
        return [*found, pytest.param(None, None, marks=pytest.mark.skip(reason), id="challenge")]
    folder = Path(os.environ["UNET_ORACLE"])
    more = json.loads((folder / "expected.json").read_text())
    return found + [
        pytest.param(folder / name, more[name], id=name) for name in more if name not in own
    ]


every_case = pytest.mark.parametrize(("folder", "expected"), cases())


def read(folder, name, expected):
    return tifffile.imread(folder / name).reshape(expected["shape_zyx"])


def read_pair(folder, expected):
    return read(folder, "label.tif", expected), read(folder, "proposal.tif", expected)


def column(expected, key, n=11):
    return np.array([row[key] for row in expected["thresholds"][:n]])


def assert_best(result, expected, name, error):
    assert result.value == pytest.approx(expected["best"][error], abs=1e-9)
    assert result.threshold == expected["best"][f"{name}_threshold"]


@every_case
def test_pixel_error(folder, expected):
    result = metrics.pixel_error(*read_pair(folder, expected))
    assert result.thresholds == tuple(column(expected, "threshold"))
    np.testing.assert_allclose(
        1 - np.array(result.values), column(expected, "pixel_fscore"), rtol=0, atol=1e-9
    )
    assert_best(result, expected, "pixel", "pixel_error")


@every_case
def test_component_metrics(folder, expected):
    labels, proposal = read_pair(folder, expected)
    if (
        not (labels > 0).any(axis=(1, 2)).all()
    ):  # there the official number is NaN, and ours refused
        for metric in (metrics.rand_error, metrics.v_rand, metrics.v_info):
            with pytest.raises(InputError, match="slice 0: no white pixel"):
                metric(labels, proposal)
        return

    rand = metrics.rand_error(labels, proposal)
    for ours, key in (
        (1 - np.array(rand.values), "rand_fscore"),
        (rand.precision, "rand_precision"),
        (rand.recall, "rand_recall"),
        (metrics.v_rand(labels, proposal).values, "v_rand"),
    ):
        np.testing.assert_allclose(ours, column(expected, key), rtol=0, atol=1e-9, err_msg=key)
    v_info = metrics.v_info(labels, proposal)
    np.testing.assert_allclose(v_info.values, column(expected, "v_info"), rtol=0, atol=1e-7)
    assert_best(rand, expected, "rand", "rand_error")
    assert_best(metrics.v_rand(labels, proposal), expected, "v_rand", "v_rand")
    assert_best(v_info, expected, "v_info", "v_info")


@every_case
def test_warping_error(folder, expected):
    labels, proposal = read_pair(folder, expected)
    result = metrics.warping_error(labels, proposal)
    # The official program misjudges wholly white label slices; the number of pixels left is right.
    constant = (labels > 0).all(axis=(1, 2))
    for ours, theirs in zip(result.counts, expected["thresholds"], strict=False):
        for z, counts in enumerate(theirs["warping_counts_per_slice"]):
            if constant[z]:
                assert sum(ours[z]) == sum(counts.values())
            else:
                assert ours[z]._asdict() == counts
    classic = column(expected, "warping_error_all_mismatches", 10).astype(float)
    np.testing.assert_allclose(result.classic_values, classic, rtol=0, atol=1e-15)
    if not constant.any():
        values = column(expected, "warping_error", 10).astype(float)
        np.testing.assert_allclose(result.values, values, rtol=0, atol=1e-15)
        assert_best(result, expected, "warping", "warping_error")


@every_case
def test_warped_labels_and_classes_as_images(folder, expected):
    labels, proposal = read_pair(folder, expected)
    warped = read(folder, "warped_t0.5.tif", expected) > 0
    classes = read(folder, "mismatch_classes_t0.5_r20.tif", expected)
    for z in range(len(labels)):
        ours = metrics.warped_label(labels[z], proposal[z], 0.5)
        np.testing.assert_array_equal(ours, warped[z])
        ours = metrics.warping_mismatches(labels[z], proposal[z], 0.5)
        if (labels[z] > 0).all():
            np.testing.assert_array_equal(ours > 0, classes[z] > 0)
        else:
            np.testing.assert_array_equal(ours, classes[z])


@every_case
def test_thinned_labels_as_images(folder, expected):
    _, proposal = read_pair(folder, expected)
    thinned = read(folder, "thinned_labels_t0.5.tif", expected)
    for z in range(len(proposal)):
        foreground = np.ascontiguousarray((proposal[z].astype(np.float32) > 0.5).T)
        np.testing.assert_array_equal(thin(foreground)[0].T, thinned[z])


@every_case
def test_seg_of_the_components(folder, expected):
    """Values of py-ctcmetrics; it gives none where an image has no object or no background."""
    labels, proposal = read_pair(folder, expected)
    for row in expected["ctc_seg_at_0.5_per_slice"]:
        if row["seg_ctcmetrics"] is None:
            continue
        reference, n_reference = label_components(labels[row["slice"]] > 0)
        segmentation, _ = label_components(proposal[row["slice"]].astype(np.float32) > 0.5)
        assert n_reference == row["n_ref"]
        assert metrics.seg(reference, segmentation) == pytest.approx(
            row["seg_ctcmetrics"], abs=1e-12
        )
