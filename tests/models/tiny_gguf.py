"""A random Qwen2 of two layers as a GGUF file, written by the gguf package's own writer."""

import json

import gguf
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from ..engines import tiny_llm

NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
NAMES |= {"lm_head.weight": "output.weight"}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""GGUF's names of what is in a layer."""
QUANTIZED = gguf.GGMLQuantizationType.Q8_0


def write(path, *, license="apache-2.0", seed=0):  # noqa: A002 - the field's name
    """Write the file, matrices in 8 bits; returns transformers' model with the same weights, and the tokenizer."""
    tokenizer = tiny_llm.tokenizer_of(tiny_llm.TEMPLATE, tiny_llm.TEXTS, 400)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(config)
    writer = gguf.GGUFWriter(path, "qwen2")
    if license:
        writer.add_license(license)
    _settings(writer, config)
    _tokens(writer, tokenizer)
    _weights(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model.to(torch.bfloat16), tokenizer


def _settings(writer, config):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)


def _tokens(writer, tokenizer):
    vocabulary, special = tokenizer.get_vocab(), tokenizer.added_tokens_decoder
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if n in special else gguf.TokenType.NORMAL for n in range(len(tokens))]
    )
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def _weights(writer, model):
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            values = tensor.numpy()
            if values.ndim == 1:
                writer.add_tensor(_name(name), values)
                continue
            blocks = gguf.quants.quantize(values, QUANTIZED)
            writer.add_tensor(_name(name), blocks, raw_dtype=QUANTIZED)
            tensor.copy_(torch.from_numpy(gguf.quants.dequantize(blocks, QUANTIZED)))


def _name(name):
    if name in NAMES:
        return NAMES[name]
    _, _, layer, inner = name.split(".", 3)
    part, _, kind = inner.rpartition(".")
    return f"blk.{layer}.{LAYER[part]}.{kind}"
