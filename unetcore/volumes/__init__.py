"""Prediction of images larger than memory: chunk by chunk, in one process or in many.

A chunk of the result is predicted like an image of its own whose context is the image around it.
Its first row and column are multiples of the network's phase, so it is what the whole image would
get there; and since its tiles depend on nothing but the chunk, it does not matter which process
computes it, after which interruption.
"""

from unetcore.volumes.grey import GreyImage, grey_statistics
from unetcore.volumes.plan import CHUNK, VolumePlan, part_of, plan_volume
from unetcore.volumes.prediction import VolumePrediction, start_prediction
from unetcore.volumes.run import Request, go_on, predict_part, progress_lines, start

__all__ = [
    "CHUNK",
    "GreyImage",
    "Request",
    "VolumePlan",
    "VolumePrediction",
    "go_on",
    "grey_statistics",
    "part_of",
    "plan_volume",
    "predict_part",
    "progress_lines",
    "start",
    "start_prediction",
]
