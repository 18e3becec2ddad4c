"""One training on several processes, by torch's distributed data parallel under torchrun.

Every process holds the whole network and computes some tiles of each batch; the gradient is the
mean over all processes, so each makes the same update. The paper trains on one GPU; this is ours.
"""

import atexit
import functools
import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import get_error_handler
from torch.nn.parallel import DistributedDataParallel

from unetcore.errors import InputError

logger = logging.getLogger(__name__)

T = TypeVar("T")

# The first process may validate for long while the others wait; a process that died is noticed by
# its closed connection or by torchrun, not by this.
LONGEST_WAIT = timedelta(hours=4)
TIME_TO_SPEAK = 5  # seconds that the first process has to say why all of them end


@dataclass(frozen=True)
class Processes:
    """The processes of one training, as one of them sees them.

    Every method but `tiles` and `no_sync` is called by all of them, in the same order.

    Attributes
    ----------
    rank : number of this process, 0 to size - 1.
    size : how many there are; a lone process is the first of one.
    local_rank : number of this process on its machine, which is also that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that saves, logs and writes."""
        return self.rank == 0

    def tiles(self, batch: int) -> range:
        """Numbers of the tiles that this process computes, of a batch that `check_batch` passed."""
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def wrap(self, model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        """Module whose backward pass leaves the mean gradient of all processes in each of them.

        Parameters
        ----------
        model : on its device; takes over the weights of the first process.
        device : of the model.

        Returns
        -------
        the model inside a `DistributedDataParallel`; the model itself if there is one process.
        """
        if self.size == 1:
            return model
        wrapped = DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            gradient_as_bucket_view=True,  # saves a copy of all gradients
        )
        if self.size > 2 and (device.type == "cpu" or torch.are_deterministic_algorithms_enabled()):
            wrapped.register_comm_hook(self.size, _mean_in_order)
        return wrapped

    def no_sync(self, wrapped: torch.nn.Module) -> AbstractContextManager:
        """Context in which gradients are added up without being exchanged.

        For both passes of all parts of a batch but the last, which exchanges the sum.
        """
        return nullcontext() if self.size == 1 else wrapped.no_sync()

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Mean of a floating-point tensor over all processes, in place; a GPU does not wait."""
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor /= self.size
        return tensor

    def max(self, value: int) -> int:
        """Largest of a number over all processes; does not wait for a GPU."""
        if self.size == 1:
            return value
        largest = torch.tensor(value)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def share(self, value: T) -> T:
        """What the first process says, in every process; any object that can be pickled."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def on_first(self, function: Callable[[], T]) -> T:
        """Call a function in the first process, while the others wait.

        Returns
        -------
        its result, in every process.

        Raises
        ------
        Exception : what it raised, in every process, so that all end for the same reason.
        """
        if self.size == 1:
            return function()
        result = error = None
        if self.is_first:
            try:
                result = function()
            except Exception as raised:
                error = raised
        result, error = self.share((result, error))
        if error is not None:
            raise error
        return result

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.max(0)


def _mean_in_order(size: int, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """Mean of some gradients over all processes, added up in the order of their ranks.

    Three numbers and more have a sum that depends on their order, and that of an all-reduce on
    where in the bucket they lie. The buckets of the first step of a run differ from the others, so
    a resumed training would end in other last digits. Each process adds up one part, then all
    parts go to all: as much is sent as by an all-reduce.
    """
    gradient = bucket.buffer()
    part = -(-len(gradient) // size)
    padded = gradient.new_zeros(size * part)
    padded[: len(gradient)] = gradient
    received = torch.empty_like(padded)
    dist.all_to_all_single(received, padded)
    total = functools.reduce(torch.add, received.view(size, part)) / size
    dist.all_gather(list(padded.view(size, part)), total)
    gradient.copy_(padded[: len(gradient)])
    devices = [gradient.device] if gradient.device.type == "cuda" else []
    done = torch.futures.Future(devices=devices)
    done.set_result(gradient)
    return done


def check_batch(batch: int, size: int, accumulate: int) -> None:
    """Make sure that the tiles of a batch can be shared out evenly.

    Only with equal shares is the mean over processes and parts the mean over tiles.

    Parameters
    ----------
    batch : tiles of one update.
    size : number of processes.
    accumulate : parts in which a process computes its tiles, one after the other.

    Raises
    ------
    InputError : a number below 1, or shares that are not equal.
    """
    for name, value in (("batch", batch), ("processes", size), ("accumulate", accumulate)):
        if value < 1:
            raise InputError(f"{name} {value}: need at least 1")
    if batch % (size * accumulate):
        raise InputError(
            f"batch {batch} on {size} process(es) in {accumulate} part(s) each: need a multiple "
            f"of {size * accumulate}"
        )


def under_torchrun() -> bool:
    """Whether this process was started by torchrun, or by what sets the same variables."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    return all(name in os.environ for name in names)


def own_processes() -> Processes:
    """Place of this process in its training, as its environment says; exchanges nothing."""
    if not under_torchrun():
        return Processes()
    return Processes(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))


def tell_torchrun(error: BaseException) -> None:
    """Let torchrun name an error of this process in what it says when all have ended.

    For programs in which only the first process says why it ends. torchrun ends all of them once
    one has, so the others wait some seconds here: most errors are those of all. Does nothing
    without torchrun.
    """
    if not under_torchrun():
        return
    get_error_handler().record_exception(error)
    if not own_processes().is_first:
        time.sleep(TIME_TO_SPEAK)


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes of this training; at the end all wait for each other.

    Numbers and flags are exchanged over gloo, the gradients of a GPU over nccl. The connections
    last until the process ends, so that its next training finds them.

    Parameters
    ----------
    device : where this process computes; of several processes each needs a GPU of its own.
    """
    own = own_processes()
    if own.size == 1:
        yield own
        return
    if not dist.is_initialized():
        _connect(device)
    yield own
    own.barrier()


def _connect(device: torch.device) -> None:
    """Connect this process with the others.

    It stays so after an error: one that closes its connections before it says why would make the
    others fail first. And closing them while a wrapped network is alive can hang in torch.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=LONGEST_WAIT)
    atexit.register(_disconnect)


def _disconnect() -> None:
    gc.collect()  # wrapped networks in the frames of an error
    dist.destroy_process_group()
