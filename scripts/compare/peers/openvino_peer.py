"""Makes pictures with OpenVINO: the UNet and the decoder converted by openvino_export.py.

Run by bench_peers.py, one process a measurement. The text encoders, a fortieth of the work, and the loop stay
diffusers'. Requests (loop.py) have besides `converted`, the folder of the converted networks. The precision is
a hint to OpenVINO, as its users give it.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers.loop import Clock, emit, make_pictures, request  # noqa: E402
from peers.pipeline import Maker, diffusers, set_up, torch  # noqa: E402

import openvino as ov  # noqa: E402
import transformers  # noqa: E402
from diffusers.configuration_utils import FrozenDict  # noqa: E402

WORK = request()
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class Network(torch.nn.Module):
    """A compiled network in the place of diffusers' module, whose configuration it keeps."""

    def __init__(self, core, name, kind):
        super().__init__()
        self.config = FrozenDict(kind.load_config(Path(WORK["model"]) / name))
        self.device, self.dtype = torch.device("cpu"), getattr(torch, WORK["precision"])
        compiled = core.compile_model(Path(WORK["converted"]) / f"{name}.xml", "CPU", {
            "INFERENCE_PRECISION_HINT": HINTS[WORK["precision"]], "INFERENCE_NUM_THREADS": WORK["threads"],
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1})
        self._request = compiled.create_infer_request()

    def run(self, inputs):
        done = self._request.infer({name: value.float().numpy() for name, value in inputs.items()})
        return (torch.from_numpy(done[0].copy()).to(self.dtype),)


class UNet(Network):
    def __init__(self, core):
        super().__init__(core, "unet", diffusers.UNet2DConditionModel)
        # The pipeline asks it how wide the added conditions are.
        self.add_embedding = torch.nn.Module()
        self.add_embedding.linear_1 = torch.nn.Linear(self.config.projection_class_embeddings_input_dim, 1)

    def forward(self, sample, timestep, encoder_hidden_states, added_cond_kwargs, **_):
        return self.run({"sample": sample, "timestep": torch.as_tensor(timestep),
                         "encoder_hidden_states": encoder_hidden_states, **added_cond_kwargs})


class Decoder(Network):
    def __init__(self, core):
        super().__init__(core, "vae", diffusers.AutoencoderKL)

    def decode(self, latents, return_dict=False):
        return self.run({"latents": latents})


def load():
    model, dtype, core = Path(WORK["model"]), getattr(torch, WORK["precision"]), ov.Core()

    def part(kind, folder, **options):
        return kind.from_pretrained(model / folder, local_files_only=True, **options)

    index = json.loads((model / "model_index.json").read_text())
    return diffusers.StableDiffusionXLPipeline(
        vae=Decoder(core), unet=UNet(core),
        text_encoder=part(transformers.CLIPTextModel, "text_encoder", dtype=dtype),
        text_encoder_2=part(transformers.CLIPTextModelWithProjection, "text_encoder_2", dtype=dtype),
        tokenizer=part(transformers.CLIPTokenizer, "tokenizer"),
        tokenizer_2=part(transformers.CLIPTokenizer, "tokenizer_2"),
        scheduler=part(getattr(diffusers, index["scheduler"][1]), "scheduler"),
        force_zeros_for_empty_prompt=index.get("force_zeros_for_empty_prompt", True), add_watermarker=False)


def main():
    torch.set_num_threads(WORK["threads"])
    clock = Clock()
    pipe = load()
    set_up(pipe, WORK)
    emit(loaded=clock.lap())
    make_pictures(WORK, Maker(pipe, WORK))
    emit(software={"openvino": ov.__version__.split("-")[0], "torch": torch.__version__,
                   "diffusers": diffusers.__version__})


if __name__ == "__main__":
    main()
