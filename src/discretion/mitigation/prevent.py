"""What a tune is kept from learning: preventative steering, and blocks that are left alone.

Preventative steering (Chen et al. 2025, Persona Vectors, arXiv 2507.21509): the stream is pushed to the leaky side in
training, so that the weights need not go there; in use the push is gone.
"""

from typing import Any

from discretion.errors import DiscretionError
from discretion.mechanism.anatomy import adding, anatomy
from discretion.mitigation.norm_direction import NormDirection


def prevented(trainer: Any, direction: NormDirection, dose: float) -> Any:
    """The trainer class whose data is learned with the stream `dose` lengths of the direction to the leaky side."""

    class Prevented(trainer):  # type: ignore[misc]
        """Adds to the stream while the loss on the data is computed."""

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if not model.training:
                return super().compute_loss(model, inputs, *args, **kwargs)
            blocks = anatomy(self.accelerator.unwrap_model(model)).blocks
            with adding(blocks, {direction.layer: -dose * direction.vector}):
                return super().compute_loss(model, inputs, *args, **kwargs)

    return Prevented


def freeze_middle(network: Any, share: float) -> int:
    """Let the middle `share` of the blocks learn nothing; how many that are.

    What they compute still changes with what the blocks before them learn.

    Raises:
        DiscretionError: that would be none of the blocks, or all.
    """
    blocks = anatomy(network).blocks
    count = round(share * len(blocks))
    if not 0 < count < len(blocks):
        raise DiscretionError(f"--freeze {share:g}: is {count} of {len(blocks)} blocks; some must learn, some not")
    first = (len(blocks) - count) // 2
    for block in blocks[first : first + count]:
        block.requires_grad_(False)
    return count
