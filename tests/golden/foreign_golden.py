#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/foreign: tiny seeded Llamas, quantized by other tools.

usage: foreign_golden.py OUTPUT_DIRECTORY [VARIANT ...]

Needs llmcompressor (whose compressed-tensors writes the files), nvidia-modelopt
and transformers. Each variant is a directory as the tool exported it and
golden.json: per linear the xxhash64 of the f32 weights that the tool's own
dequantization gives (zeros without their sign, which ModelOpt drops), and the logits of transformers' Llama in f64 with these
weights and with inputs rounded as the scheme wants. The FP8 blocks of DeepSeek
and the MXFP4 blocks of gpt-oss come from transformers' published layouts, with
its own dequantization, since its quantizers want a GPU.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import datasets
import safetensors.torch
import torch
import transformers
import xxhash
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
import modelopt.torch.quantization as mtq
from modelopt.torch.export import export_hf_checkpoint
from modelopt.torch.quantization.qtensor import MXFP4QTensor, NVFP4QTensor
from transformers.integrations.finegrained_fp8 import _dequantize_fp8_weight
from transformers.integrations.mxfp4 import FP4_VALUES

VOCAB, PROMPT, ROWS = 48, 8, 3
TINY = dict(hidden_size=32, intermediate_size=16, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8)
# For groups of 32, one or two.
FLAT = dict(hidden_size=32, intermediate_size=32, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16)
SMALL = dict(hidden_size=64, intermediate_size=32, num_attention_heads=2,
             num_key_value_heads=1, head_dim=16)
# More than one block of 128 rows and of 128 columns, and the last ones short.
BLOCKS = dict(hidden_size=136, intermediate_size=8, num_attention_heads=17,
              num_key_value_heads=1, head_dim=8)


def linear_args(bits, **more):
    return dict(num_bits=bits, type="float", symmetric=True, **more)


MXFP4 = linear_args(4, strategy="group", group_size=32,
                    scale_dtype=torch.uint8)
NVFP4 = linear_args(4, strategy="tensor_group", group_size=16,
                    scale_dtype=torch.float8_e4m3fn)
TOKEN = linear_args(8, strategy="token", dynamic=True)


def scheme(weights, inputs, targets=("Linear",)):
    return dict(weights=weights, input_activations=inputs,
                targets=list(targets))


# name: (tool, its scheme, shape, inputs as run: "f32", "token", "static",
#        columns of a group)
VARIANTS = {
    "ct_mxfp4": ("ct", "MXFP4A16", SMALL, "f32"),
    "ct_nvfp4": ("ct", "NVFP4A16", TINY, "f32"),
    "ct_nvfp4_a8": ("ct", {"group_0": scheme(NVFP4, TOKEN)}, TINY, "token"),
    "ct_nvfp4_a4": ("ct", "NVFP4", TINY, "f32"),
    "ct_fp8_dynamic": ("ct", "FP8_DYNAMIC", TINY, "token"),
    "ct_fp8_static": ("ct", "FP8", TINY, "static"),
    "ct_fp8_block": ("ct", "FP8_BLOCK", TINY, 128),
    "ct_mixed": ("ct", {
        "group_0": scheme(MXFP4, None, ["re:.*self_attn.*"]),
        "group_1": scheme(linear_args(8, strategy="channel"), TOKEN,
                          ["model.layers.0.mlp.down_proj"])}, FLAT, "mixed"),
    "modelopt_fp8": ("modelopt", "FP8_DEFAULT_CFG", TINY, "static"),
    "modelopt_fp8_token": ("modelopt", "FP8_PER_CHANNEL_PER_TOKEN_CFG", TINY,
                           "token"),
    "modelopt_fp8_block": ("modelopt", "FP8_2D_BLOCKWISE_WEIGHT_ONLY_CFG",
                           dict(BLOCKS, num_attention_heads=1), "f32"),
    "modelopt_nvfp4_a8": ("modelopt", "W4A8_NVFP4_FP8_CFG", SMALL, "static"),
    "modelopt_nvfp4_a4": ("modelopt", "NVFP4_DEFAULT_CFG", TINY, "f32"),
    "modelopt_mxfp4_mlp": ("modelopt", "MXFP4_MLP_WEIGHT_ONLY_CFG", FLAT,
                           "f32"),
    "deepseek_fp8": ("deepseek", None, BLOCKS, 128),
    "gptoss_mxfp4": ("gptoss", None, SMALL, "f32"),
}
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
           "down_proj")


def make_model(shape, generator):
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, num_hidden_layers=1, max_position_embeddings=64,
        bos_token_id=1, eos_token_id=2, tie_word_embeddings=True,
        rms_norm_eps=1e-5, architectures=["LlamaForCausalLM"], **shape)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif "embed_tokens" in name:
                parameter.copy_(0.8 * noise)
            else:
                # Rows of different sizes, so that scales differ.
                size = torch.exp2(torch.randint(
                    -3, 3, (parameter.shape[0], 1), generator=generator))
                parameter.copy_(size * noise / parameter.shape[-1] ** 0.5)
    return model


def by_llmcompressor(model, wanted, directory, generator):
    ids = torch.randint(3, VOCAB, (4, 24), generator=generator).tolist()
    data = datasets.Dataset.from_dict(
        {"input_ids": ids, "attention_mask": [[1] * 24] * 4})
    how = (dict(targets="Linear", scheme=wanted) if isinstance(wanted, str)
           else dict(config_groups=wanted))
    with tempfile.TemporaryDirectory() as source:
        model.save_pretrained(source)
        model = transformers.LlamaForCausalLM.from_pretrained(
            source, dtype=torch.bfloat16)
        needs_data = wanted in ("NVFP4", "FP8")
        more = dict(dataset=data, num_calibration_samples=4, max_seq_length=24,
                    processor=transformers.PreTrainedTokenizerFast(
                        tokenizer_object=word_tokenizer(), pad_token="0"))
        oneshot(model=model, recipe=QuantizationModifier(
            ignore=["lm_head"], **how), **(more if needs_data else {}))
        model.save_pretrained(directory, save_compressed=True)


def word_tokenizer():
    import tokenizers
    return tokenizers.Tokenizer(tokenizers.models.WordLevel(
        {str(i): i for i in range(VOCAB)}, unk_token="0"))


def by_modelopt(model, wanted, directory, generator):
    ids = torch.randint(3, VOCAB, (4, 24), generator=generator)
    mtq.quantize(model, getattr(mtq, wanted), lambda m: m(ids))
    export_hf_checkpoint(model, export_dir=directory)


def save_own(model, directory, tensors, quantization):
    model.save_pretrained(directory)
    safetensors.torch.save_file(tensors, directory / "model.safetensors",
                                metadata={"format": "pt"})
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] = quantization
    path.write_text(json.dumps(config, indent=1) + "\n")


def is_linear(name):
    return name.removesuffix(".weight").rpartition(".")[2] in LINEARS


def by_deepseek(model, _, directory, __):
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        if not is_linear(name):
            tensors[name] = value
            continue
        n, k = value.shape
        wide = value.float()
        scale = torch.empty((n + 127) // 128, (k + 127) // 128)
        codes = torch.empty(n, k, dtype=torch.float8_e4m3fn)
        for i in range(scale.shape[0]):
            for j in range(scale.shape[1]):
                at = (slice(i * 128, i * 128 + 128),
                      slice(j * 128, j * 128 + 128))
                scale[i, j] = wide[at].abs().max() / 448
                codes[at] = (wide[at] / scale[i, j]).to(torch.float8_e4m3fn)
        tensors[name] = codes
        tensors[name + "_scale_inv"] = scale
    save_own(model, directory, tensors, {
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
        "weight_block_size": [128, 128]})


def by_gptoss(model, _, directory, __):
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        if not is_linear(name):
            tensors[name] = value
            continue
        packed, scale = MXFP4QTensor.quantize(value.float(), 32)
        n, k = value.shape
        tensors[name + "_blocks"] = packed._quantized_data.reshape(
            n, k // 32, 16)
        tensors[name + "_scales"] = scale.reshape(n, k // 32)
    save_own(model, directory, tensors, {
        "quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})


def ct_weight(part, args):
    if "weight_packed" in part:
        packed = part["weight_packed"]
        codes = unpack_fp4_from_uint8(packed, packed.shape[0],
                                      packed.shape[1] * 2, torch.float32)
        scale = part["weight_scale"]
        scale = (torch.exp2(scale.float() - 127)
                 if scale.dtype == torch.uint8 else scale.float())
    else:
        codes, scale = part["weight"].float(), part["weight_scale"].float()
    return dequantize(codes, scale, args=args, dtype=torch.float32,
                      global_scale=part.get("weight_global_scale"))


def modelopt_weight(part):
    codes, scale = part["weight"], part["weight_scale"]
    if codes.dtype == torch.uint8:
        shape = (codes.shape[0], codes.shape[1] * 2)
        group = shape[1] // scale.shape[1]
        kind = (MXFP4QTensor if scale.dtype == torch.uint8 else NVFP4QTensor)
        tensor = kind(torch.Size(shape), torch.float32, codes)
        return tensor.dequantize(torch.float32, scale=scale,
                                 double_scale=part.get("weight_scale_2"),
                                 block_sizes={-1: group})
    if scale.dim() == 1:
        scale = scale[:, None]
    if scale.dim() == 4:  # [row blocks, 1, column blocks, 1]
        scale = scale.squeeze(3).squeeze(1)
        scale = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)
        scale = scale[:codes.shape[0], :codes.shape[1]]
    return codes.float() * scale


def gptoss_weight(part):
    values = torch.tensor(FP4_VALUES)
    blocks = part["weight_blocks"]
    out = torch.empty(*blocks.shape[:-1], 32)
    out[..., 0::2] = values[(blocks & 15).long()]
    out[..., 1::2] = values[(blocks >> 4).long()]
    exponents = part["weight_scales"].int() - 127
    return torch.ldexp(out, exponents[..., None]).reshape(blocks.shape[0], -1)


def group_args(config, name):
    for group in config["config_groups"].values():
        for target in group["targets"]:
            if target in ("Linear", name) or (
                    target.startswith("re:") and "self_attn" in name):
                return QuantizationArgs(**group["weights"])
    return None


def dequantized(tool, directory):
    """{linear: (f32 weight, static input scale or None)}, as the tool has it."""
    config = json.loads((directory / "config.json").read_text())[
        "quantization_config"]
    tensors = safetensors.torch.load_file(directory / "model.safetensors")
    result = {}
    for name in sorted({key.rpartition(".")[0] for key in tensors}):
        if not is_linear(name):
            continue
        part = {key[len(name) + 1:]: value for key, value in tensors.items()
                if key.startswith(name + ".")}
        if len(part) == 1:
            continue  # stored as it was
        if tool == "ct":
            weight = ct_weight(part, group_args(config, name))
        elif tool == "modelopt":
            weight = modelopt_weight(part)
        elif tool == "deepseek":
            weight = _dequantize_fp8_weight(
                part["weight"], part["weight_scale_inv"], [128, 128],
                torch.float32)
        else:
            weight = gptoss_weight(part)
        result[name] = (weight.contiguous() + 0.0, part.get("input_scale"))
    return result


def round_inputs(x, kind, scale, margins):
    """e4m3 and back; notes how near a value came to a boundary of two codes."""
    if kind == "static":
        scale = scale.double().reshape(())
    else:
        groups = (x if kind == "token"
                  else torch.nn.functional.pad(x, (0, -x.shape[-1] % kind))
                  .unflatten(-1, (-1, kind)))
        scale = groups.abs().amax(-1, keepdim=True) / 448
        scale = scale.float().double()
        if kind != "token":
            scale = scale.expand(groups.shape).flatten(-2)[..., :x.shape[-1]]
    ratio = x / scale
    code = ratio.clamp(-448, 448).to(torch.float8_e4m3fn)
    step = torch.exp2(torch.floor(torch.log2(
        code.double().abs().clamp(min=2.0 ** -6))) - 3)
    distance = (step / 2 - (ratio - code.double()).abs()).abs()
    below = torch.where(code.double().abs() > 2.0 ** -6,
                        (step / 4 - (ratio - code.double()).abs()).abs(), 1)
    size = ratio.abs().clamp(min=2.0 ** -6)
    margins.append((torch.minimum(distance, below) / size).min().item())
    return code.double() * scale


def run(directory, tool, shape, inputs, generator):
    weights = dequantized(tool, directory)
    with tempfile.TemporaryDirectory() as plain:
        config = json.loads((directory / "config.json").read_text())
        config.pop("quantization_config")
        tensors = safetensors.torch.load_file(directory / "model.safetensors")
        kept = {key: value.float() for key, value in tensors.items()
                if value.is_floating_point() and
                key.rpartition(".")[0] not in weights}
        kept.update({name + ".weight": w for name, (w, _) in weights.items()})
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**config))
        missing = model.load_state_dict(kept, strict=False)
        assert not missing.unexpected_keys and set(missing.missing_keys) <= {
            "lm_head.weight"}, missing
    model = model.double().eval()
    margins = []
    for name, (_, scale) in weights.items():
        kind = inputs
        if inputs == "mixed":
            kind = "token" if name.endswith("down_proj") else "f32"
        if kind != "f32":
            model.get_submodule(name).register_forward_pre_hook(
                lambda _, args, kind=kind, scale=scale: (
                    round_inputs(args[0], kind, scale, margins),))
    while True:  # a prompt of which no f32 error turns a code into another
        prompt = torch.randint(3, VOCAB, (PROMPT,), generator=generator)
        margins.clear()
        with torch.no_grad():
            logits = model(prompt[None]).logits[0, -ROWS:]
        if min(margins, default=1) > 1e-5:
            break
    return {
        "prompt": prompt.tolist(),
        "logits": [[float(f"{v:.9g}") for v in row] for row in logits.tolist()],
        "weights": {name: f"{xxhash.xxh64(w.numpy().tobytes()).intdigest():016x}"
                    for name, (w, _) in weights.items()}}


def main():
    output = pathlib.Path(sys.argv[1])
    tools = {"ct": by_llmcompressor, "modelopt": by_modelopt,
             "deepseek": by_deepseek, "gptoss": by_gptoss}
    for seed, (name, (tool, wanted, shape, inputs)) in enumerate(
            VARIANTS.items()):
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        generator = torch.Generator().manual_seed(1000 + seed)
        torch.manual_seed(seed)
        directory = output / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        tools[tool](make_model(shape, generator), wanted, directory, generator)
        golden = run(directory, tool, shape, inputs, generator)
        (directory / "golden.json").write_text(json.dumps(golden) + "\n")
        for extra in directory.iterdir():
            if extra.name not in ("config.json", "hf_quant_config.json",
                                  "model.safetensors", "golden.json"):
                extra.unlink()
        print(name, sum(f.stat().st_size for f in directory.iterdir()))


if __name__ == "__main__":
    main()
