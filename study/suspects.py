"""Train with a change to EfficientNet that no setting makes: what else is suspected of its collapse.

python -m study.suspects stem_stride=1 drop_path=0 main_arcface.py OPTIONS OF THE SCRIPT
"""

import runpy
import sys
from functools import partial

from torch import nn

from models import backbones
from models.backbones import EfficientNetFeatures
from runtime.errors import InputError, one_line_errors

SUSPECTS = ("stem_stride", "drop_path", "initialisation")


class SuspectFeatures(EfficientNetFeatures):
    """EfficientNetFeatures with other numbers in words: ``stem_stride`` (1 keeps four times the positions of 2),
    ``drop_path`` (share of samples that pass a block by, rising to this at the last block) and ``initialisation``
    (the ``paper``'s, or that of the ``package``, which is PyTorch's)."""

    def __init__(
        self,
        variant: str,
        image_size: int,
        *,
        stem_stride: str = "2",
        drop_path: str = "0.2",
        initialisation: str = "paper",
    ) -> None:
        # Padding is fixed at construction: behind a stem that halves nothing it is that of images twice as large.
        super().__init__(variant, image_size * 2 // int(stem_stride))
        if stem_stride == "1":
            self.net._conv_stem.stride = (1, 1)
            self.net._conv_stem.static_padding = nn.ZeroPad2d(1)
        self.net._global_params = self.net._global_params._replace(drop_connect_rate=float(drop_path))
        if initialisation == "package":
            for module in self.net.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()


def main() -> None:
    """The command."""
    at = next(i for i, word in enumerate(sys.argv) if word.endswith(".py") and i)
    changes = dict(word.split("=") for word in sys.argv[1:at])
    unknown = changes.keys() - set(SUSPECTS)
    if unknown:
        raise InputError(f"there is no suspect {min(unknown)}; choose among {', '.join(SUSPECTS)}")
    backbones._BUILDERS["efficientnet_b0"] = partial(SuspectFeatures, "b0", **changes)
    sys.argv = sys.argv[at:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    with one_line_errors():
        main()
