"""The privacy direction that mitigations steer by: of the norm corpus's own tasks, which no evaluation uses."""

from typing import NamedTuple

import torch

from discretion.corpus.tasks import written_tasks
from discretion.mechanism.contrast import item_contrasts
from discretion.mechanism.direction import best_layer, differences
from discretion.models.local import LocalModel

UNITS = 50


class NormDirection(NamedTuple):
    """Where the stream goes when a message tells what may be told, less where it goes otherwise.

    Attributes:
        layer: the block after which it separates best.
        vector: (width,), towards the safe side; as long as the mean difference.
    """

    layer: int
    vector: torch.Tensor


def norm_direction(model: LocalModel, units: int = UNITS) -> NormDirection:
    """The direction over `units` tasks."""
    found = differences(model, item_contrasts(written_tasks())[:units])
    layer = best_layer(found.values)
    return NormDirection(layer, torch.tensor(found.direction[layer], dtype=torch.float32))
