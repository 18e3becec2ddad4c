"""A training step as one CUDA graph: the host launches it once instead of kernel by kernel.

One tile per step keeps a fast GPU so little busy that the host, which launches some hundred kernels
one by one, becomes the limit. A graph holds them all and is launched in a few microseconds.
"""

from collections.abc import Callable, Sequence

import torch

WARM_UP = 3  # calls in which libraries choose their kernels and allocate what they need


class CapturedStep:
    """Function of tensors that runs as a CUDA graph on a GPU, and as it is on a CPU.

    The first `WARM_UP` calls run the function itself, the next one captures it, and from then on
    the graph is replayed. Every call does its work exactly once, so a function that changes weights
    may be captured. Results are those of the function, bit for bit, as long as its kernels are.

    Parameters
    ----------
    function : takes tensors and returns a tuple of tensors.
    inputs : tensors like those of every call in shape, type, device and order of memory; their
        values are not read.

    Notes
    -----
    A graph repeats kernels on fixed addresses, and nothing of what Python did between them. So the
    function must

    - not wait for the GPU (`item`, `if` on a tensor, copies from or to the host);
    - find what changes from call to call in its arguments, or in tensors that are changed in place
      between calls: a learning rate is a tensor, an optimiser is fused or capturable;
    - drop gradients with `zero_grad(set_to_none=True)` rather than add to those of the last call;
    - return detached tensors, and enter and leave `torch.autocast` by itself, as weights that were
      cast outside would never be cast again;
    - not seed a generator. Seed the default one *before* a call: a replay draws, as the function
      would, from the seed of that moment (torch hands seed and offset to the graph at each replay).

    What the function has returned belongs to the caller; it is copied out of the graph.
    """

    def __init__(
        self,
        function: Callable[..., tuple[torch.Tensor, ...]],
        inputs: Sequence[torch.Tensor],
    ):
        self.function = function
        self.calls = 0
        self.graph = None
        if on_gpu := _on_gpu(inputs):
            self.inputs = [torch.empty_like(tensor) for tensor in inputs]
            self.stream = torch.cuda.Stream(inputs[0].device)
        self.on_gpu = on_gpu

    def __call__(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Do what the function does.

        Raises
        ------
        ValueError : tensors that are not like the inputs; a graph has one shape only.
        """
        if not self.on_gpu:
            return self.function(*tensors)
        self._take_in(tensors)
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._run_beside()
        if self.graph is None:
            self._capture()
        self.graph.replay()
        return tuple(output.clone() for output in self.outputs)

    def _take_in(self, tensors):
        for own, given in zip(self.inputs, tensors, strict=True):
            if (own.shape, own.dtype) != (given.shape, given.dtype):  # copy_ would convert
                raise ValueError(
                    f"tensor of shape {tuple(given.shape)} and type {given.dtype}: this step is "
                    f"for {tuple(own.shape)} and {own.dtype}"
                )
            own.copy_(given)

    def _run_beside(self):
        """Run the function on the stream of the capture: workspaces of libraries are per stream."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            outputs = self.function(*self.inputs)
        current.wait_stream(self.stream)
        return outputs

    def _capture(self):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self.outputs = self.function(*self.inputs)
        self.graph = graph


def _on_gpu(tensors):
    return all(tensor.is_cuda for tensor in tensors)
