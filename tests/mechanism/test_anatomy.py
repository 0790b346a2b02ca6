"""The head as the model itself uses it."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from discretion.mechanism.anatomy import anatomy

SMALL = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "more"),
    [("llama", {}), ("granite", {"logits_scaling": 4.0}), ("cohere", {"logit_scale": 0.25}),
     ("gemma2", {"final_logit_softcapping": 2.0, "head_dim": 8})],
)  # fmt: skip
def test_logits_are_the_models_own(family, more):
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SMALL, **more)).eval()
    ids = torch.arange(6)[None]
    parts = anatomy(network)
    with torch.no_grad():
        ours = parts.logits(parts.backbone(input_ids=ids).last_hidden_state)
        assert torch.allclose(ours, network(input_ids=ids).logits, atol=1e-5)
