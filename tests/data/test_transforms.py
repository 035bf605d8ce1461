import numpy as np
import pytest
import torch

from data.transforms import Preprocessing, make_preprocessing, template
from runtime.errors import InputError

WEIGHTS = {"size": 112, "crop": "arcface5", "mean": [0.5, 0.5, 0.5], "std": [128 / 255] * 3}


def test_symmetric_normalisation_is_x_minus_127_5_over_128_in_rgb_order():
    made = make_preprocessing(size=4, crop="arcface5", normalisation="symmetric", weights=None)
    image = torch.zeros(1, 2, 3, 3, dtype=torch.uint8)
    image[0, 1, 2] = torch.tensor([255, 128, 10], dtype=torch.uint8)
    out = made.normalise(image)
    assert out.shape == (1, 3, 2, 3)
    assert out[0, :, 1, 2].tolist() == pytest.approx([(v - 127.5) / 128 for v in (255, 128, 10)], abs=1e-6)


def test_imagenet_normalisation_equals_torchvisions():
    from torchvision.transforms.v2.functional import normalize

    made = make_preprocessing(size=4, crop="arcface5", normalisation="auto", weights=None)
    images = torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = normalize(images.permute(0, 3, 1, 2) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.allclose(made.normalise(images), expected, atol=1e-6)


def test_the_template_scales_and_is_the_published_one_at_112():
    assert template(112)[0].tolist() == pytest.approx([38.2946, 51.6963])
    assert np.allclose(template(224), 2 * template(112))


def test_a_preprocessing_survives_plain_values():
    made = make_preprocessing(size=112, crop="arcface5", normalisation="symmetric", weights=None)
    assert Preprocessing.from_dict(made.to_dict()) == made


def test_pretrained_weights_decide_mean_and_std_and_refuse_others():
    made = make_preprocessing(size=112, crop="arcface5", normalisation="auto", weights=WEIGHTS)
    assert made.mean == (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match="normalisation to auto"):
        make_preprocessing(size=112, crop="arcface5", normalisation="imagenet", weights=WEIGHTS)
    with pytest.raises(InputError, match="made on arcface5 faces"):
        make_preprocessing(size=112, crop="mtcnn_box", normalisation="auto", weights=WEIGHTS)
