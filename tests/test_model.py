"""The network against Fig. 1: parameters, layers, operations, and a slow copy in NumPy."""

import math

import numpy as np
import pytest
import torch
from scipy import signal
from torch import nn

from unetcore.errors import InputError
from unetcore.geometry import multiply_accumulates
from unetcore.model import UNet, crop, initialise
from unetcore.settings import INITIAL_WEIGHTS

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def network(seed=0, **settings):
    """Small network with drawn weights and biases, in evaluation mode."""
    model = UNet(**{"width": 3, "depth": 2, **settings})
    generator = torch.Generator().manual_seed(seed)
    initialise(model, generator)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.normal_(0, 0.1, generator=generator)
    return model.eval()


@pytest.mark.parametrize(
    ("variant", "expected"), [("figure1", 31_030_658), ("release", 31_100_354)]
)
def test_number_of_parameters(variant, expected):
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet(variant=variant).parameters()) == expected


# Without copies a level of c channels has 26 c^2 + 3 c: its up-convolution, 4 (2c) c + c, and two
# convolutions, 9 c^2 + c each; the first lacks the 9 c^2 weights of what would be copied.
# Sums over c = 64 .. 512: of c 960, of c^2 348,160. The contracting path has 18,842,048.
PATH = 18_842_048
WITHOUT_COPIES = PATH + 26 * 348_160 + 3 * 960 + 64 * 2 + 2
# Levels of 32, 16, 8 and 4 channels beside copies of 512 .. 64: up-convolution, convolutions.
NARROW = (
    PATH
    + (4 * 1024 * 32 + 32) + (9 * (32 + 512) * 32 + 32) + (9 * 32 * 32 + 32)
    + (4 * 32 * 16 + 16) + (9 * (16 + 256) * 16 + 16) + (9 * 16 * 16 + 16)
    + (4 * 16 * 8 + 8) + (9 * (8 + 128) * 8 + 8) + (9 * 8 * 8 + 8)
    + (4 * 8 * 4 + 4) + (9 * (4 + 64) * 4 + 4) + (9 * 4 * 4 + 4)
    + 4 * 2 + 2
)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"skip_connections": False}, WITHOUT_COPIES),
        ({"skip_connections": False, "variant": "release"}, 31_100_354 - 9 * 348_160),
        ({"expansive_width": 64}, 31_030_658),
        ({"expansive_width": 4}, NARROW),
    ],
    ids=str,
)
def test_number_of_parameters_of_another_expansive_path(settings, expected):
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet(**settings).parameters()) == expected


def test_convolutional_layers_are_those_of_the_paper():
    with torch.device("meta"):
        layers = [m for m in UNet().modules() if isinstance(m, CONVOLUTIONS)]
    assert len(layers) == 23
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in layers) == 4
    assert sorted({layer.out_channels for layer in layers}) == [2, 64, 128, 256, 512, 1024]
    assert all(layer.padding == (0, 0) and layer.bias is not None for layer in layers)


def operations_by_hooks(model, *given):
    """Multiply-accumulates of one forward pass, counted as it runs."""
    counts = []

    def count(layer, given, made):
        # every weight is used once per output pixel, of an up-convolution once per input pixel
        pixels = given[0] if isinstance(layer, nn.ConvTranspose2d) else made
        counts.append(pixels[0, 0].numel() * layer.weight.numel())

    for layer in model.modules():
        if isinstance(layer, CONVOLUTIONS):
            layer.register_forward_hook(count)
    model(*given)
    return sum(counts)


@pytest.mark.parametrize(("width", "depth", "sides"), [(4, 4, (188, 220)), (3, 2, (44, 60))])
def test_operations_are_those_counted_in_a_forward_pass(width, depth, sides):
    counted = operations_by_hooks(network(width=width, depth=depth), torch.zeros(1, 1, *sides))
    assert multiply_accumulates(*sides, channels=width, depth=depth) == counted


def test_operations_of_the_paper_are_those_counted_in_a_forward_pass():
    with torch.device("meta"):  # full width, and no arithmetic
        counted = operations_by_hooks(UNet().eval(), torch.zeros(1, 1, 572, 572))
    assert multiply_accumulates(572, 572) == counted
    assert counted / 1e9 == pytest.approx(150.428, abs=5e-4)


@pytest.mark.parametrize("variant", ["figure1", "release"])
def test_output_tile_of_the_paper(variant):
    with torch.device("meta"):
        scores = UNet(3, 5, variant=variant)(torch.zeros(2, 3, 572, 700))
    assert scores.shape == (2, 5, 388, 516)


@pytest.mark.parametrize("side", [187, 189, 570, 172])
def test_input_that_does_not_fit_is_refused(side):
    with torch.device("meta"), pytest.raises(InputError, match=f"input tile of {side} px"):
        UNet(width=2)(torch.zeros(1, 1, 188, side))


def convolve(x, layer):
    """Valid correlation of (C, H, W) channels, one pair of channels at a time."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.stack(
        [
            sum(signal.correlate(c, k, "valid") for c, k in zip(x, kernels, strict=True)) + b
            for kernels, b in zip(weight, bias, strict=True)
        ]
    )


def up_convolve(x, layer):
    """Each input pixel becomes 2 x 2 output pixels."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.stack(
        [
            sum(np.kron(c, kernels[o]) for c, kernels in zip(x, weight, strict=True)) + bias[o]
            for o in range(weight.shape[1])
        ]
    )


def relu(x):
    return np.maximum(x, 0)


def two_convolutions(x, level):
    return relu(convolve(relu(convolve(x, level[0])), level[2]))


EXPANSIVE_PATHS = [{}, {"skip_connections": False}, {"expansive_width": 2}]


@pytest.mark.parametrize("path", EXPANSIVE_PATHS, ids=str)
@pytest.mark.parametrize("variant", ["figure1", "release"])
def test_forward_agrees_with_a_slow_copy(variant, path):
    model = network(in_channels=2, n_classes=3, variant=variant, **path).double()
    image = np.random.default_rng(0).normal(size=(2, 48, 52))
    x, skips = image, []
    for level in model.contracting[:-1]:
        x = two_convolutions(x, level)
        skips.append(x)
        x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max(axis=(2, 4))
    x = two_convolutions(x, model.contracting[-1])
    for level in model.expansive:
        skip = skips.pop()
        x = relu(up_convolve(x, level.up[0])) if variant == "release" else up_convolve(x, level.up)
        lost = [(a - b) // 2 for a, b in zip(skip.shape[1:], x.shape[1:], strict=True)]
        crop = skip[:, lost[0] : lost[0] + x.shape[1], lost[1] : lost[1] + x.shape[2]]
        if path.get("skip_connections", True):
            x = np.concatenate((x, crop))  # order of the release
        x = two_convolutions(x, level.convolutions)
    expected = convolve(x, model.scores)
    found = model(torch.as_tensor(image)[None])[0].detach().numpy()
    assert found.shape == (3, 8, 12)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("path", EXPANSIVE_PATHS, ids=str)
@pytest.mark.parametrize("variant", ["figure1", "release"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_part_of_the_output_is_the_corner_of_all_of_it(variant, depth, path):
    model = network(variant=variant, depth=depth, **path).double()
    rng = np.random.default_rng(depth)
    halo, period = 6 * 2**depth - 4, 2**depth
    full = [4 + period * int(n) for n in rng.integers(0, 5, 2)]
    image = torch.as_tensor(rng.normal(size=(2, 1, *(side + 2 * halo for side in full))))
    with torch.no_grad():
        whole = model(image)
        for part in ((1, 1), full, (full[0], 1), *(rng.integers(1, np.add(full, 1), (4, 2)))):
            found = model(image, tuple(int(n) for n in part))
            torch.testing.assert_close(found, whole[..., : part[0], : part[1]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("part", [(1, 1), (13, 20), (20, 9)])
def test_operations_of_a_part_are_those_counted_in_a_forward_pass(part):
    model = network(width=4, depth=4)
    counted = operations_by_hooks(model, torch.zeros(1, 1, 204, 204), part)
    assert multiply_accumulates(204, 204, channels=4, output=part) == counted


@pytest.mark.parametrize("part", [(21, 4), (4, 5), (0, 4)])
def test_part_that_is_not_in_the_output_is_refused(part):
    with pytest.raises(InputError, match=r"output of \(.*\) px: .* the output tile, \(20, 4\) px"):
        network(depth=4)(torch.zeros(1, 1, 204, 188), part)


def test_release_keeps_the_channels_of_the_last_up_convolution():
    with torch.device("meta"):
        ups = {v: UNet(variant=v).expansive[-1].up for v in ("figure1", "release")}
    assert (ups["figure1"].in_channels, ups["figure1"].out_channels) == (128, 64)
    assert (ups["release"][0].in_channels, ups["release"][0].out_channels) == (128, 128)


@pytest.mark.parametrize("margin", [0, 3])
def test_crop_and_its_gradient_are_those_of_indexing(margin):
    generator = torch.Generator().manual_seed(margin)
    x = torch.randn(2, 3, 11, 14, generator=generator).to(memory_format=torch.channels_last)
    upstream = torch.randn(2, 3, 5, 6, generator=generator)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    assert torch.equal(crop(x, margin, (5, 6)), crop(found, margin, (5, 6)))
    part = crop(found, margin, (5, 6))
    indexed = expected[..., margin : margin + 5, margin : margin + 6]
    assert torch.equal(part, indexed)
    assert part.is_contiguous(memory_format=torch.channels_last)
    part.backward(upstream)
    indexed.backward(upstream)
    assert torch.equal(found.grad, expected.grad)


def test_drop_out_follows_the_two_lowest_levels_of_the_contracting_path():
    with torch.device("meta"):
        model = UNet()
    dropping = {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout)}
    assert dropping == {"contracting.3.4": 0.5, "contracting.4.4": 0.5}
    with torch.device("meta"):
        assert not any(isinstance(m, nn.Dropout) for m in UNet(dropout=0).modules())


def test_drop_out_reaches_the_deepest_skip_connection_and_no_other():
    model = network(width=4, depth=2, dropout=0.5).train()
    skips = []
    for level in model.expansive:
        level.register_forward_pre_hook(lambda _, given: skips.append(given[1]))
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(2):
            model(torch.ones(1, 1, 44, 44))  # a constant image: a channel is constant or 0
    deepest, highest, deepest_again, highest_again = skips
    channel = deepest[0][deepest.amax((0, 2, 3)) > 0][0]
    share = (channel == 0).float().mean().item()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(channel.numel()))
    assert not torch.equal(deepest, deepest_again)
    assert torch.equal(highest, highest_again)


def test_initial_weights_of_a_convolution_on_64_channels():
    model = UNet(width=64, depth=1)
    initialise(model, torch.Generator().manual_seed(0))
    weight = model.contracting[0][2].weight  # 64 x 64 x 3 x 3: N = 576, as in the paper
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 576), rel=0.015)


@pytest.mark.parametrize("variant", ["figure1", "release"])
def test_initial_weights_are_gaussian_of_the_width_that_their_inputs_ask_for(variant):
    model = UNet(in_channels=3, width=24, depth=2, variant=variant)
    initialise(model, torch.Generator().manual_seed(0))
    tested = 0
    for layer in model.modules():
        if not isinstance(layer, CONVOLUTIONS):
            continue
        assert not layer.bias.any()
        up = isinstance(layer, nn.ConvTranspose2d)
        n = 4 * layer.out_channels if up else layer.in_channels * layer.kernel_size[0] ** 2
        z = layer.weight.detach().flatten() / math.sqrt(2 / n)
        if z.numel() > 500:  # 4 standard errors: one chance in 16 000 for each number
            assert abs(z.std().item() - 1) < 4 / math.sqrt(2 * z.numel())
            assert abs(z.mean().item()) < 4 / math.sqrt(z.numel())
            assert abs((z**4).mean().item() - 3) < 4 * math.sqrt(96 / z.numel())  # Gaussian
            tested += 1
    assert tested == 12


# By hand: a 3x3 convolution has 9 c_in incoming and 9 c_out outgoing nodes, an up-convolution,
# as in the release, 4 c_out and 4 c_in.
SPREAD = {
    "he": lambda incoming, outgoing: math.sqrt(2 / incoming),
    "xavier": lambda incoming, outgoing: math.sqrt(2 / (incoming + outgoing)),
    "pytorch": lambda incoming, outgoing: math.sqrt(1 / (3 * incoming)),
}


def test_every_kind_of_initial_weights_is_tested():
    assert set(SPREAD) == set(INITIAL_WEIGHTS)


@pytest.mark.parametrize("kind", SPREAD)
def test_spread_of_each_kind_of_initial_weights(kind):
    model = UNet(width=24, depth=1)
    initialise(model, torch.Generator().manual_seed(0), kind)
    for layer, incoming, outgoing in (
        (model.contracting[1][0], 9 * 24, 9 * 48),
        (model.expansive[0].up, 4 * 24, 4 * 48),
        (model.expansive[0].convolutions[0], 9 * 48, 9 * 24),
    ):
        z = layer.weight.detach().flatten() / SPREAD[kind](incoming, outgoing)
        fourth = 1.8 if kind == "pytorch" else 3  # moment of a uniform, and of a Gaussian number
        assert abs(z.mean().item()) < 4 / math.sqrt(z.numel())
        assert abs((z**2).mean().item() - 1) < 4 * math.sqrt((fourth - 1) / z.numel())
        assert abs((z**4).mean().item() - fourth) < 4 * math.sqrt(96 / z.numel())
        assert not layer.bias.any()
        if kind == "pytorch":
            assert z.abs().max() <= math.sqrt(3)


def test_pytorch_weights_are_as_wide_as_those_the_library_draws():
    torch.manual_seed(0)
    library, ours = UNet(width=32, depth=1), UNet(width=32, depth=1)
    initialise(ours, torch.Generator().manual_seed(0), "pytorch")
    for (name, theirs), own in zip(library.named_parameters(), ours.parameters(), strict=True):
        if name.endswith("weight") and own.numel() > 2000:
            assert own.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.01)
            assert own.std().item() == pytest.approx(theirs.std().item(), rel=0.05)


def test_initial_weights_depend_on_the_generator_only():
    first, again, other = (UNet(width=2, depth=1) for _ in range(3))
    for model, seed in ((first, 5), (again, 5), (other, 6)):
        torch.manual_seed(seed * 100 + id(model) % 7)
        initialise(model, torch.Generator().manual_seed(seed))
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not a.any() or not torch.equal(a, c)


def test_names_and_initial_weights_are_those_of_model_files_of_earlier_releases():
    shapes = {
        "contracting.0.0": (2, 1, 3, 3),
        "contracting.0.2": (2, 2, 3, 3),
        "contracting.1.0": (4, 2, 3, 3),
        "contracting.1.2": (4, 4, 3, 3),
        "expansive.0.up": (4, 2, 2, 2),
        "expansive.0.convolutions.0": (2, 4, 3, 3),
        "expansive.0.convolutions.2": (2, 2, 3, 3),
        "scores": (2, 2, 1, 1),
    }  # in the order in which they are drawn
    model = UNet(width=2, depth=1)
    initialise(model, torch.Generator().manual_seed(0))
    names = [f"{layer}.{kind}" for layer in shapes for kind in ("weight", "bias")]
    assert list(model.state_dict()) == names
    generator = torch.Generator().manual_seed(0)
    for layer, shape in shapes.items():
        nodes = math.prod(shape[1:])
        expected = torch.empty(shape).normal_(0, math.sqrt(2 / nodes), generator=generator)
        assert torch.equal(model.state_dict()[f"{layer}.weight"], expected)


def test_signal_keeps_its_size_through_the_initial_network():
    # What sqrt(2 / N) is for: without it the scores of 23 layers vanish or explode.
    model = network(width=16, depth=4)
    with torch.no_grad():
        scores = model(torch.randn(1, 1, 204, 204, generator=torch.Generator().manual_seed(1)))
    assert 0.1 < scores.std() < 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "paper"}, "variant 'paper': need one of figure1, release"),
        ({"width": 0}, "width 0, depth 4: each must be at least 1"),
        ({"depth": 0}, "depth 0: each must be at least 1"),
        ({"in_channels": 0}, "in_channels 0"),
        ({"n_classes": -1}, "n_classes -1"),
        ({"expansive_width": 65}, "expansive_width 65: need 1 to the width, 64"),
        ({"expansive_width": 0}, "expansive_width 0: need 1 to the width, 64"),
    ],
)
def test_network_that_cannot_be_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        UNet(**settings)
