"""Converts a folder's UNet and decoder to OpenVINO's format, for one batch and one size.

    openvino_export.py '{"model": DIR, "out": DIR, "rows": N, "batch": N, "width": W, "height": H, "half": BOOL}'

Run by bench_peers.py before anything is timed. Static shapes, as OpenVINO is fastest with them; `rows` is what
the UNet is given at once, twice the batch under guidance. The networks are converted straight from diffusers'
modules. `half` stores weights in 16 bits, as OpenVINO's users do.
"""
import gc
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers.pipeline import diffusers, torch  # noqa: E402

import openvino as ov  # noqa: E402


class UNet(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, sample, timestep, encoder_hidden_states, text_embeds, time_ids):
        return self.network(sample, timestep, encoder_hidden_states, return_dict=False,
                            added_cond_kwargs={"text_embeds": text_embeds, "time_ids": time_ids})[0]


class Decoder(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, latents):
        return self.network.decode(latents, return_dict=False)[0]


def convert(module, inputs, path, half):
    with torch.no_grad():
        model = ov.convert_model(module.eval(), example_input=inputs,
                                 input=[(name, list(value.shape)) for name, value in inputs.items()])
    ov.save_model(model, path, compress_to_fp16=half)


def main():
    work = json.loads(sys.argv[1])
    model, out = Path(work["model"]), Path(work["out"])
    config = diffusers.UNet2DConditionModel.load_config(model / "unet")
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    rows, height, width = work["rows"], work["height"] // 8, work["width"] // 8

    network = diffusers.UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32)
    convert(UNet(network), {"sample": torch.randn(rows, config["in_channels"], height, width),
                            "timestep": torch.tensor(500.0),
                            "encoder_hidden_states": torch.randn(rows, 77, config["cross_attention_dim"]),
                            "text_embeds": torch.randn(rows, pooled), "time_ids": torch.ones(rows, 6)},
            out / "unet.xml", work["half"])
    del network
    gc.collect()
    network = diffusers.AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32)
    convert(Decoder(network), {"latents": torch.randn(work["batch"], config["in_channels"], height, width)},
            out / "vae.xml", work["half"])


if __name__ == "__main__":
    main()
