"""The privacy direction that mitigations steer by: of the norm corpus's own tasks, which no evaluation uses."""

from typing import NamedTuple

import torch

from discretion.corpus.tasks import written_tasks
from discretion.files import digest
from discretion.mechanism.contrast import item_contrasts
from discretion.mechanism.direction import best_layer, differences
from discretion.models.local import LocalModel


class NormDirection(NamedTuple):
    """Where the stream goes when a message tells what may be told, less where it goes otherwise.

    Attributes:
        layer: the block after which it separates best.
        vector: (width,), towards the safe side; as long as the mean difference.
    """

    layer: int
    vector: torch.Tensor


def norm_direction(model: LocalModel) -> NormDirection:
    """The direction over the twins: one list for two recipients, so that what is said is the same on both sides."""
    twins = [task.model_copy(update={"cluster": digest(task.context)}) for task in written_tasks()]
    found = differences(model, [contrast for contrast in item_contrasts(twins) if contrast.balanced])
    # Not the first block: a control vector cannot reach it in llama.cpp.
    layer = 1 + best_layer(found.values[:, 1:]) if found.values.shape[1] > 1 else 0
    return NormDirection(layer, torch.tensor(found.direction[layer], dtype=torch.float32))
