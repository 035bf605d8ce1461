"""Settings → FaceEmbedder. The same settings build the same architecture again, for a checkpoint to fill."""

import torch
from torch import nn

from configs.settings import Settings
from models.backbones import mobilefacenet
from models.backbones.by_name import build_backbone, check_backbone
from models.embedder import FaceEmbedder
from models.pooling import POOLINGS
from models.tail import build_neck, build_pooling
from models.weights.known import NONE, known_weights
from models.weights.pretrained import load_weights, open_pretrained, require_settings
from runtime.devices import to_device
from runtime.errors import InputError

# Backbones whose published weights are face networks already, neck included, and the embedding size that this fixes.
NECK_SIZES = {"inception_resnet_v1": 512, "mobilefacenet": mobilefacenet.EMBEDDING_SIZE}
NORM_MOMENTUM = 0.1  # PyTorch's


def model_for(settings: Settings, device: torch.device) -> nn.Module:
    """The network of the settings on its device, ready for training.

    Raises InputError as ``build_model`` and ``FaceEmbedder.freeze`` do.
    """
    model = build_model(
        settings.backbone,
        embedding_size=settings.embedding_size,
        pooling=settings.pooling,
        dropout=settings.dropout,
        pretrained=settings.pretrained,
        image_size=settings.image_size,
        norm_momentum=settings.norm_momentum,
    )
    model.freeze(settings.freeze)
    return to_device(
        model,
        device,
        settings.gpus,
        compiled=settings.compile,
        cuda_graphs=settings.cuda_graphs,
        recompute=settings.activation_checkpointing,
    )


def build_model(
    backbone: str,
    *,
    embedding_size: int,
    pooling: str,
    dropout: float,
    pretrained: str,
    image_size: int,
    norm_momentum: float = NORM_MOMENTUM,
) -> FaceEmbedder:
    """The network that turns images into unit embeddings: float (B, 3, H, W) → float32 (B, D).

    backbone: one of BACKBONES, or ``timm:NAME``.
    pooling: ``backbone`` (its own: the average; for MobileFaceNet its 7×7 depthwise convolution, for IResNet and IR
        none: all positions go to the neck), ``average`` or ``gem`` (learnable; see GeM for what it does to negative
        features).
    dropout: probability in [0, 1) on the pooled features, in training mode only.
    pretrained: ``none``, a known name (``vggface2``, ``casia-webface`` for InceptionResNetV1; ``imagenet``
        for timm's and EfficientNet), a weight file (see ``models.weights.read``), or a run folder or checkpoint of
        this project, of the same backbone, embedding size and pooling.
    image_size: pixels, H = W.
    norm_momentum: share, 0 to 1, of a batch in the running statistics of every BatchNorm, of which evaluation makes
        use. EfficientNet's own 0.01 leaves them far behind the weights for hundreds of steps: a network that learns
        then looks collapsed in evaluation.

    Raises InputError: unknown name, value out of range, size the network can't take, weights that are missing,
    damaged or of another architecture. Never starts from scratch in silence.
    """
    check_backbone(backbone)
    _check_settings(backbone, embedding_size, pooling, dropout, pretrained)
    start = None if pretrained == NONE else open_pretrained(backbone, pretrained)
    if start is not None:
        require_settings(start.network, pretrained, embedding_size=embedding_size, pooling=pooling)
    features = build_backbone(backbone, image_size)
    model = FaceEmbedder(
        features,
        build_pooling(backbone, pooling, features.out_channels),
        dropout,
        build_neck(backbone, pooling, features.out_channels, embedding_size),
    )
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = norm_momentum
    if start is not None:
        load_weights(model, start)
    # One thread of a CPU with AVX-512: 1.1 to 1.4 times the training images/s; EfficientNet-B7 alone gains nothing.
    return model.to(memory_format=torch.channels_last)


def _check_settings(backbone: str, embedding_size: int, pooling: str, dropout: float, pretrained: str) -> None:
    if pooling not in POOLINGS:
        raise InputError(f"unknown pooling {pooling!r}; choose one of {', '.join(POOLINGS)}")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout is {dropout}, but must be at least 0 and below 1")
    if embedding_size < 2:
        raise InputError(f"embedding_size is {embedding_size}, but must be at least 2")
    needed = NECK_SIZES.get(backbone, embedding_size)
    if pretrained in known_weights(backbone) and embedding_size != needed:
        raise InputError(f"{backbone}'s weights give embeddings of {needed} values; set embedding_size to {needed}")
