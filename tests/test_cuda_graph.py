"""A captured step does what its function does."""

import contextlib

import pytest
import torch
from torch.nn import functional

from unetcore import cuda_graph
from unetcore.cuda_graph import WARM_UP, CapturedStep
from unetcore.loss import weighted_cross_entropy
from unetcore.model import UNet, initialise

CALLS = WARM_UP + 4


def test_on_a_cpu_the_function_is_called_with_the_tensors_themselves():
    seen = []

    def function(image, weight):
        seen.append((image, weight))
        return (image * weight,)

    image, weight = torch.ones(2, 3), torch.tensor(4.0)
    step = CapturedStep(function, [torch.empty(2, 3), torch.empty(())])
    (product,) = step(image, weight)
    assert product.tolist() == [[4.0] * 3] * 2
    assert seen[0][0] is image
    assert seen[0][1] is weight


class StandIn:
    """Graphs on a CPU: what runs while one is captured is kept, and done when it is replayed."""

    def __init__(self):
        self.captured = None  # while there is no capture
        self.log = []

    def launch(self, kernel):
        if self.captured is None:
            kernel()
        else:
            self.captured.append(kernel)

    @contextlib.contextmanager
    def graph(self, graph, stream):
        assert stream.name == "side"
        self.log.append("capture")
        self.captured = graph.kernels
        yield
        self.captured = None


class StandInGraph:
    def __init__(self):
        self.kernels = []

    def replay(self):
        for kernel in self.kernels:
            kernel()


class StandInStream:
    def __init__(self, log, name):
        self.log, self.name, self.device = log, name, "gpu"

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def stand_in(monkeypatch):
    gpu = StandIn()
    monkeypatch.setattr(cuda_graph, "_on_gpu", lambda tensors: True)
    for name, value in (
        ("Stream", lambda device: StandInStream(gpu.log, "side")),
        ("current_stream", lambda device: StandInStream(gpu.log, "current")),
        ("stream", lambda stream: contextlib.nullcontext()),
        ("CUDAGraph", StandInGraph),
        ("graph", gpu.graph),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    return gpu


def test_every_call_does_its_work_once_and_on_its_own_tensors(stand_in):
    total = torch.zeros(2)

    def add(x):
        stand_in.log.append("run")
        sum_ = torch.empty(2)
        stand_in.launch(lambda: total.add_(x))
        stand_in.launch(lambda: sum_.copy_(total))
        return (sum_,)

    step = CapturedStep(add, [torch.empty(2)])
    sums = [step(torch.tensor([float(k), 1.0]))[0] for k in range(CALLS)]
    expected = [[k * (k + 1) / 2, k + 1] for k in range(CALLS)]
    assert [s.tolist() for s in sums] == expected  # no result is overwritten by a later call
    beside = ["side waits for current", "run", "current waits for side"]
    assert stand_in.log == beside * WARM_UP + ["capture", "run"]


@pytest.mark.parametrize("wrong", [torch.zeros(1), torch.zeros(2, dtype=torch.float64)])
def test_a_tensor_that_would_be_stretched_or_converted_is_refused(stand_in, wrong):
    step = CapturedStep(lambda x: (x,), [torch.empty(2)])
    with pytest.raises(ValueError, match=r"this step is for \(2,\) and torch.float32"):
        step(wrong)


def test_another_number_of_tensors_is_refused(stand_in):
    with pytest.raises(ValueError, match="zip"):
        CapturedStep(lambda x: (x,), [torch.empty(2)])(torch.zeros(2), torch.zeros(2))


class Training:
    """A few steps of a small network with drop-out, seeded step by step."""

    def __init__(self, optimiser, device="cuda"):
        self.model = UNet(width=8, depth=2, dropout=0.5)
        initialise(self.model, torch.Generator().manual_seed(0))
        self.model = self.model.to(device, memory_format=torch.channels_last).train()
        self.rate = torch.tensor(0.0, device=device)
        parameters = self.model.parameters()
        if optimiser == "sgd":
            self.optimiser = torch.optim.SGD(parameters, self.rate, momentum=0.9, fused=True)
        else:
            self.optimiser = torch.optim.AdamW(
                parameters, self.rate, fused=True, capturable=device == "cuda"
            )
        self.optimiser.found_inf = torch.zeros((), device=device)
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(CALLS, 1, 1, 84, 84, generator=generator)
        classes = torch.randint(2, (CALLS, 1, 44, 44), generator=generator)
        weights = torch.rand(CALLS, 1, 44, 44, generator=generator)
        self.tiles = list(zip(*(t.to(device) for t in (images, classes, weights)), strict=True))

    def update(self, image, classes, weights):
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(image.device.type, torch.bfloat16):
            scores = self.model(image)
        loss = weighted_cross_entropy(scores, classes, weights)
        loss.backward()
        self.optimiser.found_inf.copy_(loss.detach().isfinite().logical_not())
        self.optimiser.step()
        return (loss.detach(),)

    def run(self, update):
        losses = []
        for step, tile in enumerate(self.tiles):
            self.rate.fill_(0.01 / (1 + step))
            torch.manual_seed(1000 + step)
            losses.append(update(*tile)[0])
        return [loss.item() for loss in losses], self.weights()

    def weights(self):
        """Copy of all weights in one row."""
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_step_whose_loss_is_not_finite_leaves_weights_as_they_were(optimiser):
    training = Training(optimiser, device="cpu")
    training.rate.fill_(0.01)
    image, classes, weights = training.tiles[0]
    for tile, changes in ((image, True), (image * torch.nan, False), (image, True)):
        before = training.weights()
        training.update(tile, classes, weights)
        after = training.weights()
        assert after.isfinite().all()
        assert torch.equal(before, after) != changes


@pytest.fixture
def repeatable(monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_captured_training_equals_eager_training_bit_for_bit(repeatable, optimiser):
    eager, captured = Training(optimiser), Training(optimiser)
    losses, weights = eager.run(eager.update)
    step = CapturedStep(captured.update, captured.tiles[0])
    captured_losses, captured_weights = captured.run(step)
    assert step.graph is not None
    assert captured_losses == losses
    assert torch.equal(captured_weights, weights)


@pytest.mark.gpu
def test_a_replay_draws_from_the_seed_before_it_and_not_from_that_of_the_capture(repeatable):
    x = torch.ones(1 << 16, device="cuda")
    step = CapturedStep(lambda x: (functional.dropout(x, 0.5),), [x])
    seeds = [*range(CALLS), 0, CALLS - 1]
    drawn = []
    for seed in seeds:
        torch.manual_seed(seed)
        drawn.append(step(x)[0])
    for seed, values in zip(seeds, drawn, strict=True):
        torch.manual_seed(seed)
        assert torch.equal(values, functional.dropout(x, 0.5))
    assert not torch.equal(drawn[-1], drawn[-2])


@pytest.mark.gpu
def test_a_replayed_step_whose_loss_is_not_finite_leaves_weights_as_they_were(repeatable):
    training = Training("sgd")
    step = CapturedStep(training.update, training.tiles[0])
    training.run(step)
    before = training.weights()
    image, classes, weights = training.tiles[0]
    (loss,) = step(image * torch.nan, classes, weights)
    assert loss.isnan()
    assert torch.equal(before, training.weights())
    step(image, classes, weights)
    assert not torch.equal(before, training.weights())
