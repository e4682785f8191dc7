"""The work that every contestant is given: the same folder, prompts, seeds, sizes, steps, scheduler."""
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path

SEED = 7
THINGS = ["apple", "cat face", "rocket", "pizza", "house", "rainbow", "strawberry", "robot"]
COLOURS = ["red", "green", "yellow", "blue", "orange", "purple", "brown", "white"]

# Turbo's schedule ends where the noise does; with one step it is plain Euler from the highest noise.
TRAILING = {"_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
            "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "prediction_type": "epsilon",
            "interpolation_type": "linear", "steps_offset": 1, "timestep_spacing": "trailing",
            "use_karras_sigmas": False}


@dataclass
class Case:
    """`batches` of `batch` pictures, the first of which only warms up."""
    name: str
    model: Path
    width: int
    height: int
    steps: int
    guidance_scale: float
    batch: int
    batches: int
    scheduler: dict | None = None
    device: str = "cpu"
    items: list = field(init=False)

    def __post_init__(self):
        # No prompt twice: nobody gains by remembering one.
        prompts = [f"a {colour} {thing}" for colour, thing in itertools.product(COLOURS, THINGS)]
        self.items = [{"prompt": prompts[i % len(prompts)], "seed": SEED + i} for i in range(self.batch * self.batches)]

    @property
    def guided(self):
        return self.guidance_scale > 1

    def request(self, **more):
        """As the peers' processes take it (peers/loop.py)."""
        return {"model": str(self.model), "items": self.items, "width": self.width, "height": self.height,
                "steps": self.steps, "guidance_scale": self.guidance_scale, "scheduler": self.scheduler,
                "batch": self.batch, "device": self.device, **more}

    def spec(self):
        """As backlot takes it; JSON is YAML."""
        defaults = {"width": self.width, "height": self.height, "steps": self.steps,
                    "guidance_scale": self.guidance_scale}
        if self.scheduler:
            defaults["scheduler"] = self.scheduler
        return json.dumps({"version": 1, "task": "text-to-image", "model": str(self.model), "defaults": defaults,
                           "jobs": self.items})
