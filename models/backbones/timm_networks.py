"""Any network of timm as a backbone: ``timm:NAME``."""

from torch import Tensor, nn

TIMM_PREFIX = "timm:"


class TimmFeatures(nn.Module):
    """Any network of timm. Tokens (B, N, C) become a map (B, C, N, 1), so that every pooling works."""

    def __init__(self, name: str, image_size: int) -> None:
        import timm

        super().__init__()
        config = timm.get_pretrained_cfg(name)
        fixed = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
        self.net = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **fixed)
        self.channels_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, C, h, w)."""
        features = self.net.forward_features(x)
        if features.dim() == 3:
            return features[:, getattr(self.net, "num_prefix_tokens", 0) :].mT.unsqueeze(-1)
        return features.permute(0, 3, 1, 2) if self.channels_last else features
