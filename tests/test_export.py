"""What is exported gives what the network gives; what is said of it is true."""

import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from torch.testing import assert_close
from typer.testing import CliRunner

from unetcore import cli
from unetcore.checkpoint import load_model, save_model
from unetcore.errors import InputError
from unetcore.export import Credits, export_model, forms, onnx_file, package
from unetcore.export.card import TOLERANCE, model_card, readme
from unetcore.export.heads import HEADS
from unetcore.export.onnx_file import open_onnx, to_onnx
from unetcore.export.sample import draw_sample
from unetcore.fully_convolutional import FullyConvolutional
from unetcore.model import TileNormalisation, UNet, initialise
from unetcore.predict import Predictor, softmax
from unetcore.tiling import predict_tiled

DESCRIPTION = {
    "recipe": "fast",
    "code": "0123456789ab",
    "seed": 3,
    "steps": 40,
    "precision": "float32",
    "hardware": "a test",
    "labels_are": "mask",
    "label_map": "0=background, 255=cell",
    "pixel_size_um": 0.5,
    "held_out": 2,
    "training_images": [5, 300, 200],
    "images_and_labels": "fedcba",
    "postprocessing": {"threshold": 0.37, "smallest_object": 25},
    "threshold_chosen_on": "held-out images",
    "validation": {"slices": 2, "last": {"step": 40, "loss": 0.25, "v_rand": 0.9}, "best": {}},
    "training": {"normalisation": "slice", "optimiser": "adamw", "learning_rate": 0.001},
}
BARE = {key: DESCRIPTION[key] for key in ("seed", "steps", "precision", "hardware", "training")}
KINDS = [
    pytest.param(dict(normalised=normalised, in_channels=channels), id=f"{name}-{channels}")
    for name, normalised in (("plain", False), ("normalised", True))
    for channels in (1, 3)
]
FORMS = [".pt", ".onnx"]


def make_network(**settings):
    """Network in evaluation mode whose scales and shifts of maps, if it has any, matter."""
    network = UNet(**{"width": 4, **settings})
    generator = torch.Generator().manual_seed(0)
    initialise(network, generator)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, TileNormalisation):
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.uniform_(-0.5, 0.5, generator=generator)
    return network.eval()


def opened(form, head, network):
    """The head as a function, after it has been a file."""
    return forms.OPENERS[form](forms.WRITERS[form](network, head, {}))[0]


def random_images(rng, shape, channels, batch=1):
    return rng.normal(size=(batch, channels, *shape)).astype(np.float32)


def by_the_network(network, tiles):
    with torch.inference_mode():
        return network(torch.as_tensor(tiles)).softmax(1).numpy()


def by_unet_predict(network, images):
    predictor = Predictor(network, "float32", device="cpu")
    return np.stack([softmax(predict_tiled(image, predictor)) for image in images])


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_the_valid_head_gives_what_the_network_gives(form, settings):
    network = make_network(**settings)
    run, rng = opened(form, "valid", network), np.random.default_rng(1)
    for batch in (1, 2, 3):
        shape = 188 + 16 * rng.integers(0, 9, 2)
        tiles = random_images(rng, shape, settings["in_channels"], batch)
        expected = by_the_network(network, tiles)
        assert expected.shape[-2:] == tuple(shape - 184)
        np.testing.assert_allclose(run(tiles), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_the_padded_head_gives_what_unet_predict_gives(form, settings):
    network = make_network(**settings)
    run, rng = opened(form, "padded", network), np.random.default_rng(2)
    for low, high in ((20, 92), (92, 188), (188, 320)):  # fewer px than the halo, than a tile
        images = random_images(rng, rng.integers(low, high, 2), settings["in_channels"], 2)
        expected = by_unet_predict(network, images)
        assert expected.shape[-2:] == images.shape[-2:]
        np.testing.assert_allclose(run(images), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3), (516, 20)])
@pytest.mark.parametrize("form", FORMS)
def test_the_padded_head_takes_images_of_few_pixels(form, shape):
    network = make_network(width=2)
    images = random_images(np.random.default_rng(3), shape, 1)
    expected = by_unet_predict(network, images)
    np.testing.assert_allclose(
        opened(form, "padded", network)(images), expected, rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"variant": "release"},
        {"depth": 2, "n_classes": 3},
        {"depth": 1, "normalised": True},
        {"depth": 2, "skip_connections": False},
        {"depth": 2, "expansive_width": 2, "variant": "release", "normalised": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("head", HEADS)
def test_networks_of_other_settings(head, settings):
    network = make_network(**settings)
    sample = draw_sample(network, head, "slice")
    rng = np.random.default_rng(4)
    smallest, period = {4: (188, 16), 2: (44, 4), 1: (20, 2)}[network.depth]
    shape = smallest + period * rng.integers(1, 9, 2)
    images = random_images(rng, shape + 3 * (head == "padded"), 1)
    expected = {"valid": by_the_network, "padded": by_unet_predict}[head](network, images)
    for form in FORMS:
        run = opened(form, head, network)
        np.testing.assert_allclose(run(images), expected, rtol=0, atol=TOLERANCE)
        assert forms.largest_difference(form, head, network, sample) <= TOLERANCE


def test_statistics_of_large_images_are_of_the_whole_image_in_the_padded_head():
    """`unet predict` looks at some places of it; up to 516 px a side they are all of it."""
    network = make_network(width=2, normalised=True)
    run, rng = opened(".pt", "padded", network), np.random.default_rng(5)
    tilted = random_images(rng, (516, 516), 1) + np.linspace(0, 3, 516, dtype=np.float32)
    np.testing.assert_allclose(
        run(tilted), by_unet_predict(network, tilted), rtol=0, atol=TOLERANCE
    )
    larger = random_images(rng, (540, 516), 1) + np.linspace(0, 3, 516, dtype=np.float32)
    assert np.abs(run(larger) - by_unet_predict(network, larger)).max() > 10 * TOLERANCE


def test_sums_over_large_maps_are_as_good_as_over_small_ones():
    """By ONNX's own operator of normalisation they are not, in ONNX Runtime."""
    network = make_network(width=2, normalised=True)
    image = random_images(np.random.default_rng(8), (1000, 1000), 1)
    script, graph = (opened(form, "padded", network)(image) for form in FORMS)
    np.testing.assert_allclose(graph, script, rtol=0, atol=2e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("form", FORMS)
def test_a_blank_tile_gets_the_same_everywhere(form, head):
    """Rounding that is normalised in layer after layer would be noise of full contrast."""
    network = make_network(normalised=True, in_channels=2)
    run = opened(form, head, network)
    tiles = random_images(np.random.default_rng(6), (204, 220), 2, 3)
    alone = run(tiles[:1])
    tiles[1] = 3.7
    tiles[2, 0] = 3.7  # one channel of two says something
    found = run(tiles)
    assert np.ptp(found[1], axis=(1, 2)).max() == 0
    assert np.ptp(found[2], axis=(1, 2)).max() > 0.1
    np.testing.assert_allclose(found[:1], alone, rtol=0, atol=1e-5)
    if head == "padded":
        expected = by_unet_predict(network, tiles[1:])
        np.testing.assert_allclose(found[1:], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(190, 188), (188, 200), (172, 188)])
def test_the_valid_head_refuses_sizes_that_do_not_fit(shape):
    run = opened(".pt", "valid", make_network(width=2))
    with pytest.raises(torch.jit.Error, match="sizes that fit are 188"):
        run(np.zeros((1, 1, *shape), np.float32))


def test_onnx_says_what_it_takes_and_needs_no_new_runtime():
    model = onnx.load_from_string(to_onnx(make_network(in_channels=3), "padded", {"a": 1}))
    onnx.checker.check_model(model, full_check=True)
    (given,), (made,) = model.graph.input, model.graph.output
    for value, name, channels in ((given, "image", 3), (made, "probability", 2)):
        assert value.name == name
        sides = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert sides == ["batch", channels, "height", "width"]
    assert [o.version for o in model.opset_import] == [17]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert json.loads(session.get_modelmeta().custom_metadata_map["unetcore"]) == {"a": 1}


def test_files_hold_no_folder_of_the_machine(tmp_path):
    here = str(package.__file__).removesuffix("unetcore/export/package.py")
    assert here
    export_model(make_network(width=2), BARE, tmp_path / "network.zip")
    with zipfile.ZipFile(tmp_path / "network.zip") as archive:
        scripts = [archive.read(name) for name in archive.namelist()]
    for name in ("padded.pt", "valid.pt"):
        with zipfile.ZipFile(tmp_path / "network.zip") as archive:
            inner = zipfile.ZipFile(io.BytesIO(archive.read(name)))
        scripts += [inner.read(member) for member in inner.namelist()]
    assert not [content for content in scripts if here.encode() in content]
    assert not [content for content in scripts if b"site-packages" in content]


def test_files_hold_no_date(exported):
    with zipfile.ZipFile(exported.zip) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("head", HEADS)
def test_equal_models_make_equal_onnx_files(head):
    one, other = (make_network(width=2, normalised=True) for _ in range(2))
    assert to_onnx(one, head, {}) == to_onnx(other, head, {})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A package of a normalised network of two channels, unpacked, and what it is of."""
    folder = tmp_path_factory.mktemp("package")
    network = make_network(width=2, in_channels=2, normalised=True)
    credits = Credits("Cells of a test", "CC-BY-4.0", ("A. Person", "B. Person"))
    description = DESCRIPTION | {"channels": ["actin", "DNA"]}
    card = export_model(network, description, folder / "network.zip", credits=credits)
    with zipfile.ZipFile(folder / "network.zip") as archive:
        archive.extractall(folder / "unpacked")
    return SimpleNamespace(
        network=network,
        description=description,
        card=card,
        zip=folder / "network.zip",
        folder=folder / "unpacked",
    )


def test_a_package_has_two_heads_in_two_forms_and_the_weights(exported):
    assert sorted(path.name for path in exported.folder.iterdir()) == [
        *("README.md", "cover.png", "model.json", "model.safetensors"),
        *("padded.onnx", "padded.pt", "padded_image.npy", "padded_probability.npy"),
        *("rdf.yaml", "valid.bioimageio.yaml", "valid.onnx", "valid.pt"),
        *("valid_image.npy", "valid_probability.npy", "whole.bioimageio.yaml"),
    ]


def test_weights_are_those_of_the_model_with_the_card(exported):
    path = exported.folder / "model.safetensors"
    network, description = load_model(path)
    assert description == exported.description
    for name, weight in exported.network.state_dict().items():
        assert_close(network.state_dict()[name], weight, rtol=0, atol=0)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    card = json.loads(header["__metadata__"]["card"])
    assert card == json.loads((exported.folder / "model.json").read_text()) == exported.card


@pytest.mark.parametrize(
    ("name", "head", "smallest", "step", "offset", "halo"),
    [
        # 96 px, a multiple of 16: tiles of programs begin where those of `unet predict` may begin.
        ("rdf.yaml", "padded", 208, 16, 0, 96),
        ("whole.bioimageio.yaml", "padded", 1, 1, 0, None),
        ("valid.bioimageio.yaml", "valid", 188, 16, -184, None),
    ],
)
def test_descriptions_say_how_images_are_cut(exported, name, head, smallest, step, offset, halo):
    said = yaml.safe_load((exported.folder / name).read_text())
    for axis, k in zip("yx", (2, 3), strict=True):
        given, made = said["inputs"][0]["axes"][k], said["outputs"][0]["axes"][k]
        assert given["size"] == {"min": smallest, "step": step}
        assert made["size"] == {"tensor_id": "image", "axis_id": axis, "offset": offset}
        assert made.get("halo") == halo
        assert (given["unit"], given["scale"]) == ("micrometer", 0.5)
    assert {entry["source"] for entry in said["weights"].values()} == {f"{head}.pt", f"{head}.onnx"}
    assert said["inputs"][0]["axes"][1]["channel_names"] == ["actin", "DNA"]
    assert said["name"] == "Cells of a test"
    assert said["license"] == "CC-BY-4.0"
    assert said["authors"] == [{"name": "A. Person"}, {"name": "B. Person"}]


def test_test_images_are_drawn_and_not_of_a_user(exported):
    image = np.load(exported.folder / "padded_image.npy")
    same = draw_sample(make_network(width=2, in_channels=2), "padded", "slice").drawn
    np.testing.assert_array_equal(image, same)


def test_grey_values_that_stay_as_they_are_are_divided_by_their_largest(tmp_path):
    description = BARE | {"training": BARE["training"] | {"normalisation": "unit"}}
    export_model(make_network(width=2), description, tmp_path / "network.zip")
    with zipfile.ZipFile(tmp_path / "network.zip") as archive:
        (given,) = yaml.safe_load(archive.read("rdf.yaml"))["inputs"]
        assert "license" not in yaml.safe_load(archive.read("rdf.yaml"))
    assert given["data"] == {"type": "uint8", "range": [0, 255]}
    assert given["preprocessing"][1] == {"id": "scale_linear", "kwargs": {"gain": 1 / 255}}


def test_model_card_for_programs(exported):
    card = exported.card
    assert (card["tiling"]["halo"], card["tiling"]["phase"]) == (92, 16)
    assert (card["tiling"]["smallest_size"], card["tiling"]["size_step"]) == (188, 16)
    assert card["tiling"]["statistics_of_maps"] == "of each tile"
    assert not card["tiling"]["equals_whole"]
    assert card["licence"] == "CC-BY-4.0"
    assert card["input"]["normalisation"] == "slice"
    assert card["input"]["pixel_size_um"] == 0.5
    assert card["data"]["images"] == 5
    assert card["output"]["postprocessing"]["threshold"] == 0.37
    assert card["scores"]["last"]["v_rand"] == 0.9
    assert card["training"] == exported.description
    assert card["parameters"] == sum(w.numel() for w in exported.network.parameters())
    assert set(card["exactness"]["measured"]) == {f"{h}{f}" for h in HEADS for f in FORMS}
    assert max(card["exactness"]["measured"].values()) <= card["exactness"]["tolerance"] == 1e-4


def test_model_card_for_people(exported):
    text = (exported.folder / "README.md").read_text()
    for said in (
        "# Cells of a test",
        "| licence | CC-BY-4.0 |",
        "| authors | A. Person, B. Person |",
        "channels actin, DNA",
        "mean 0 and standard deviation 1",
        "H and W each 188 + 16 k; 92 px are lost on every side",
        "16 px: tiles agree if their offsets are multiples of it, but for the statistics",
        "| 5, 300 x 200 px, labels: mask (0=background, 255=cell), pixel size 0.5 um |",
        "fast: 40 steps of adamw, rate 0.001, seed 3",
        "digest 0123456789ab",
        "above 0.37 (chosen on held-out images); objects of 25 px",
        "**But tiles do not equal the whole**",
        "On 2 held-out images after the last step: loss 0.25, V_rand 0.9",
        "within 0.0001 in float32",
    ):
        assert said in text, said


def test_model_card_of_a_model_that_says_little():
    text = readme(model_card(make_network(width=2), BARE))
    assert "none given: nobody but its authors" in text
    assert "| training images | not recorded" in text
    assert "above 0.5 (the usual one" in text
    assert "Then tiles equal the whole image." in text
    assert "No images were held out" in text


@pytest.mark.parametrize("block", [0, 1])
def test_code_of_the_model_card_runs(exported, monkeypatch, block):
    monkeypatch.chdir(exported.folder)
    text = (exported.folder / "README.md").read_text()
    code = text.split("```python\n")[1 + block].split("```")[0]
    names = {}
    if block == 0:
        with pytest.warns(DeprecationWarning, match=r"torch\.jit\.load"):  # by people, on purpose
            exec(code, names)
        assert names["probability"].shape == (1, 200, 313)
    else:
        exec(code, names)
        assert names["both"].shape == (1, 2, 200, 313)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("form", FORMS)
def test_a_single_file_holds_its_card(tmp_path, form, head):
    card = export_model(make_network(width=2), DESCRIPTION, tmp_path / f"n{form}", head=head)
    _, found = forms.OPENERS[form]((tmp_path / f"n{form}").read_bytes())
    assert found == card
    assert found["heads"] == [head]
    assert list(found["exactness"]["measured"]) == [f"{head}{form}"]


def test_a_network_of_another_family_is_kept_as_weights_alone(tmp_path):
    network = FullyConvolutional(width=2).eval()
    export_model(network, BARE, tmp_path / "fcn.safetensors")
    assert load_model(tmp_path / "fcn.safetensors")[0].family == "fcn"
    for name in ("fcn.pt", "fcn.onnx", "fcn.zip"):
        with pytest.raises(InputError, match="family 'fcn': only a u-net can be exported"):
            export_model(network, BARE, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["fcn.safetensors"]


def test_a_form_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setitem(
        forms.OPENERS, ".onnx", lambda content: (lambda x: open_onnx(content)[0](x) + 0.001, {})
    )
    for name in ("network.onnx", "network.zip"):
        with pytest.raises(FloatingPointError, match=r"padded\.onnx: gives probabilities that are"):
            export_model(make_network(width=2), BARE, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_needs_no_library_is_written_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "onnx", None)
    monkeypatch.setattr(package, "ModelDescr", None)
    network = make_network(width=2)
    for name in ("n.pt", "n.safetensors", "n.md"):
        export_model(network, BARE, tmp_path / name)
    with pytest.raises(InputError, match=r"^ONNX needs .* pip install 'unetcore\[export\]'$"):
        export_model(network, BARE, tmp_path / "n.onnx")
    with pytest.raises(InputError, match=r"bioimageio\.core: pip install 'unetcore\[export\]'$"):
        export_model(network, BARE, tmp_path / "n.zip")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    save_model(folder / "model.safetensors", make_network(width=2), DESCRIPTION)
    return folder


def refusal(*words):
    """The line of stderr of a call that must end with exit code 2."""
    result = CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("out", "words", "said"),
    [
        ("n.h5", (), "n.h5: need a name that ends in one of .zip, .onnx"),
        ("n", (), "need a name that ends in one of"),
        ("n.zip", ("--head", "valid"), "a head is chosen for .pt and .onnx; a .zip holds both"),
        ("n.zip", ("--licence", "free"), "licence 'free': need an SPDX identifier, as CC-BY-4.0"),
        ("n.zip", ("--title", "Zellen, große"), "title 'Zellen, große': need 5 to 128 of"),
        ("n.zip", ("--author", "A/B"), "authors ['A/B']: a name has no slash"),
    ],
)
def test_bad_options_are_one_line(run_dir, tmp_path, out, words, said):
    assert said in refusal("export", run_dir, "-o", tmp_path / out, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_bad_models_are_one_line(run_dir, tmp_path):
    out = tmp_path / "n.pt"
    assert "no such model file" in refusal("export", tmp_path / "absent", "-o", out)
    (tmp_path / "started").mkdir()
    (tmp_path / "started/run.json").write_text("{}")
    assert "the training is unfinished" in refusal("export", tmp_path / "started", "-o", out)
    (tmp_path / "text.txt").write_text("text")
    assert "text.txt: a file of type .txt, expected a folder" in refusal(
        "export", tmp_path / "text.txt", "-o", out
    )
    (run_dir / "model.safetensors").write_bytes(b"nothing of the kind")
    assert "not a safetensors file" in refusal("export", run_dir, "-o", out)
    assert not out.exists()


def test_a_file_where_a_folder_should_be_is_one_line(run_dir, tmp_path):
    (tmp_path / "file").write_text("text")
    for form in ("zip", "pt", "onnx", "safetensors", "md"):
        line = refusal("export", run_dir, "-o", tmp_path / "file" / f"n.{form}")
        assert line.startswith("error: ")
    assert (tmp_path / "file").read_text() == "text"


def test_export_says_what_was_found_and_what_comes_next(run_dir, tmp_path):
    result = CliRunner().invoke(cli.app, ["export", str(run_dir), "-o", str(tmp_path / "n.zip")])
    first, licence, _, _, last = result.output.splitlines()
    assert first.startswith(f"{tmp_path / 'n.zip'}: ")
    assert "probabilities within" in first
    assert "states no licence" in licence
    assert last == f"  unet predict {tmp_path / 'n.zip'} IMAGE.tif -o probability.tif"
