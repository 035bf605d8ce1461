"""What the engine is told about a run, apart from the objects it works on."""

import dataclasses
from dataclasses import dataclass

from runtime.training.collapse import OnCollapse


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """The settings of the same names say what each means."""

    epochs: int
    clip_grad_norm: float = 0.0
    accumulate_steps: int = 1
    max_unreadable: float = 0.0
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 2
    on_collapse: OnCollapse = "stop"
    collapse_check_steps: int = 50
    tensorboard: bool = False

    @classmethod
    def of(cls, settings: object) -> "EngineOptions":
        """From an object that has these fields among others."""
        return cls(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(cls)})
