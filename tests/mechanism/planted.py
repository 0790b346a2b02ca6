"""A toy model in which one direction, written at one layer, carries the answer: everything else is left out.

Four blocks that do nothing, but for block 2: its attention looks everywhere alike and writes how much "private" text
came before (the letter p less the letter q) into dimension 5 of the stream. The head reads dimension 5 as the letter L
against the letter S, so that private text before makes the leaky answer likelier.
"""

from conftest import save_model

PLANTED_AT, PLANTED_IN = 2, 5
_FLAG, _CONSTANT = 3, 4


def save_planted(folder, *, strength=0.5):
    """The toy; with `strength=0` nothing is planted."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_model(folder, num_hidden_layers=4, tie_word_embeddings=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = {letter: tokenizer(letter, add_special_tokens=False)["input_ids"][-1] for letter in "pqLS"}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layernorm" not in name and name != "model.norm.weight":
                parameter.zero_()
        embeddings = model.model.embed_tokens.weight
        embeddings.normal_(std=0.05)
        embeddings[:, [_FLAG, PLANTED_IN]] = 0.0
        embeddings[:, _CONSTANT] = 1.0
        embeddings[ids["p"], _FLAG], embeddings[ids["q"], _FLAG] = 1.0, -1.0
        attention = model.model.layers[PLANTED_AT].self_attn
        attention.v_proj.weight[0, _FLAG] = 1.0
        attention.o_proj.weight[PLANTED_IN, 0] = strength
        model.lm_head.weight[ids["L"], PLANTED_IN] = 1.0
        model.lm_head.weight[ids["S"], PLANTED_IN] = -1.0
        model.lm_head.weight[ids["L"], _CONSTANT] = model.lm_head.weight[ids["S"], _CONSTANT] = 2.0
    model.save_pretrained(folder)
    return folder
