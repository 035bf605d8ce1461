"""Who the drawn people are (traits) and how each picture of them differs (nuisance).

Everything that makes the task easier or harder stands in the two tables at the top. Lengths are in units of the
distance between the eyes; y points down from the eyes, phi is the angle around the head's vertical axis in radians.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

# Range of each trait; a person's value is uniform in it. Widen a range to make people easier to tell apart.
TRAITS: dict[str, tuple[float, float]] = {
    # head
    "femininity": (0.0, 1.0),  # leans jaw, brows, lips, lashes, hair length and stubble together
    "age": (0.0, 1.0),  # leans lines, grey hair and hairline together
    "head_width": (0.94, 1.10),
    "temples": (-0.05, 0.05),
    "cheekbones": (-0.02, 0.07),
    "cheek_fat": (-0.06, 0.07),
    "jaw_width": (0.90, 1.12),
    "jaw_height": (1.02, 1.38),
    "chin_height": (1.66, 1.92),
    "chin_width": (0.16, 0.32),
    "chin_depth": (0.02, 0.13),
    "forehead": (-0.05, 0.06),
    "brow_ridge": (0.00, 0.06),
    # skin
    "skin_depth": (0.0, 1.0),
    "skin_warmth": (-1.0, 1.0),
    "blush": (0.0, 1.0),
    "freckles": (-1.8, 1.0),  # none below 0
    "stubble": (-0.8, 1.0),  # none below 0
    "moles": (0.0, 5.0),
    "lines": (-0.3, 0.5),
    "bags": (0.0, 1.0),
    # eyes
    "eye_spacing": (0.44, 0.56),
    "eye_width": (0.170, 0.250),
    "eye_height": (0.066, 0.134),
    "eye_tilt": (-0.06, 0.085),
    "eye_peak": (0.75, 1.30),
    "eye_depth": (0.03, 0.11),
    "crease": (0.025, 0.110),
    "iris_size": (0.080, 0.112),
    "iris_tone": (0.0, 1.0),
    "lashes": (0.2, 1.0),
    # brows
    "brow_height": (0.22, 0.40),
    "brow_thickness": (0.024, 0.090),
    "brow_arch": (-0.02, 0.14),
    "brow_tilt": (-0.09, 0.10),
    "brow_gap": (0.07, 0.27),
    "brow_length": (0.38, 0.62),
    "brow_density": (0.5, 1.0),
    # nose
    "nose_length": (0.49, 0.63),
    "nose_width": (0.80, 1.30),
    "nose_height": (0.16, 0.28),
    "bridge_width": (0.075, 0.125),
    "bridge_height": (0.04, 0.13),
    "bridge_hump": (-0.03, 0.05),
    # mouth
    "mouth_height": (1.07, 1.19),
    "mouth_width": (0.34, 0.46),
    "upper_lip": (0.050, 0.100),
    "lower_lip": (0.075, 0.130),
    "lip_colour": (0.0, 1.0),
    # ears
    "ear_size": (0.48, 0.66),
    "ear_height": (-0.16, 0.06),
    "ear_flare": (0.45, 1.15),
    # hair
    "hair_tone": (0.0, 1.0),
    "hair_red": (0.0, 1.0),
    "hairline": (0.92, 1.22),
    "widows_peak": (-0.03, 0.14),
    "recession": (-0.06, 0.22),
    "fringe": (-1.0, 1.0),  # none below 0
    "fringe_sweep": (-1.0, 1.0),
    "sideburn": (-0.15, 0.45),
    "hair_length": (-0.2, 2.6),
    "hair_volume": (0.03, 0.22),
    "hair_side": (0.02, 0.14),
    "hair_curl": (0.0, 1.0),
}

# Strength of what changes from picture to picture. Raise a value to make people harder to tell apart.
NUISANCE: dict[str, float] = {
    "yaw_deg": 12.0,  # standard deviations; the limits are POSE_LIMITS_DEG
    "pitch_deg": 5.0,
    "roll_deg": 5.0,
    "smile": 0.5,  # standard deviation around 0.15, cut at −0.6 … 1
    "mouth_open": 0.25,  # share of pictures with an open mouth
    "brow_raise": 0.018,  # units
    "eye_open": 0.10,  # relative
    "blink": 0.02,  # share of pictures
    "gaze": 0.030,  # units
    "light": 0.75,  # share of the light that comes from one direction, at most
    "light_tint": 0.16,  # relative per channel, of the directed light
    "ambient_tint": 0.10,
    "white_balance": 0.12,  # relative per channel, of the whole picture
    "exposure": 0.16,  # log scale
    "gamma": 0.15,  # log scale
    "glasses": 0.10,  # share of pictures
    "dapple": 0.17,  # log scale, patches of light and shade over the picture
    "hair_volume": 0.04,  # units
    "fringe": 0.2,  # of the trait fringe
    "fringe_sweep": 0.6,  # of the trait fringe_sweep
    "tied": 0.4,  # share of pictures in which long hair is tied back
    "hat": 0.08,  # share of pictures
    "tan": 0.05,  # relative, change of the skin's tone between pictures
    "blur_px": 0.45,  # largest standard deviation at 128 pixels
    "noise": 5.0,  # largest standard deviation, of 255
    "jpeg_lowest": 65.0,  # lowest JPEG quality
    "jitter_px": 0.7,  # standard deviation of the detector's landmarks at 128 pixels
}
POSE_LIMITS_DEG = {"yaw": 35.0, "pitch": 15.0, "roll": 12.0}

SKIN = np.array(
    [(252, 215, 190), (243, 196, 162), (229, 178, 140), (201, 141, 100), (153, 100, 66), (104, 66, 45)], float
)
HAIR = np.array([(26, 22, 22), (52, 37, 29), (92, 62, 40), (140, 100, 62), (190, 150, 95), (226, 196, 144)], float)
IRIS = np.array([(52, 30, 18), (92, 56, 28), (128, 98, 48), (98, 116, 66), (86, 130, 158), (120, 158, 190)], float)
RED_HAIR, GREY_HAIR = np.array((150, 66, 34), float), np.array((176, 174, 172), float)


@dataclass(frozen=True)
class Person:
    """An identity: its traits, its colours (RGB, 0 … 255) and the places of its marks."""

    traits: dict[str, float]
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    moles: np.ndarray  # (M, 3): phi, y, radius
    freckles: np.ndarray  # (F, 3)
    mottle: np.ndarray  # (14, 16) unevenness of the skin

    def __getitem__(self, name: str) -> float:
        return self.traits[name]


@dataclass(frozen=True)
class Scene:
    """The nuisance of one picture. Angles in radians, colours as factors of RGB."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    smile: float = 0.1
    mouth_open: float = 0.0
    brow_raise: float = 0.0
    eye_open: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)
    light_direction: np.ndarray = field(default_factory=lambda: np.array([-0.45, -0.5, 0.74]))
    light: np.ndarray = field(default_factory=lambda: np.full(3, 0.62))
    ambient: np.ndarray = field(default_factory=lambda: np.full(3, 0.5))
    balance: np.ndarray = field(default_factory=lambda: np.ones(3))
    gamma: float = 1.0
    tan: float = 1.0
    background: np.ndarray = field(default_factory=lambda: np.full((4, 4, 3), 170.0))
    glasses: int = 0  # 0 none, else a frame's number
    glasses_colour: tuple[int, int, int] = (40, 36, 36)
    dapple: np.ndarray = field(default_factory=lambda: np.ones((6, 6, 3)))  # factors over the picture
    hair_change: tuple[float, float, float] = (0.0, 0.0, 0.0)  # volume, fringe, sweep
    tied: bool = False
    hat: float = 0.0  # height of a hat's edge above the eyes in units, 0 for none
    hat_colour: np.ndarray = field(default_factory=lambda: np.array([120.0, 40.0, 50.0]))
    strands: int = 0  # seed of the strands
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0
    jpeg_quality: int = 95
    jitter: np.ndarray = field(default_factory=lambda: np.zeros((5, 2)))  # pixels at 128


@lru_cache(maxsize=64)
def make_person(person: int, seed: int) -> Person:
    """The person of that number: the same for the same (seed, person), on every machine."""
    rng = np.random.default_rng((seed, 0, person))
    low, high = np.array(list(TRAITS.values())).T
    traits = dict(zip(TRAITS, (low + (high - low) * rng.random(len(TRAITS))).tolist(), strict=True))
    _lean(traits)
    moles = int(traits["moles"])
    spots = 22 + int(60 * max(traits["freckles"], 0)) if traits["freckles"] > 0 else 0
    return Person(
        traits,
        skin=_along(SKIN, traits["skin_depth"]) * (1 + traits["skin_warmth"] * np.array([0.025, 0, -0.05])),
        hair=_hair_colour(traits),
        iris=_along(IRIS, traits["iris_tone"]),
        moles=np.stack(
            [rng.uniform(-0.85, 0.85, moles), rng.uniform(-0.95, 1.1, moles), rng.uniform(0.014, 0.036, moles)], 1
        ),
        freckles=np.stack(
            [rng.normal(0, 0.42, spots), rng.normal(0.32, 0.17, spots), rng.uniform(0.006, 0.014, spots)], 1
        ),
        mottle=rng.normal(0, 0.022, (14, 16)).astype(np.float32),
    )


def _lean(t: dict[str, float]) -> None:
    """Move traits that go together in people, in place."""
    woman, old = t["femininity"] - 0.5, t["age"] - 0.5
    t["jaw_width"] -= 0.10 * woman
    t["chin_width"] -= 0.06 * woman
    t["brow_ridge"] = max(0.0, t["brow_ridge"] - 0.04 * woman)
    t["brow_thickness"] -= 0.018 * woman
    t["upper_lip"] += 0.018 * woman
    t["lower_lip"] += 0.018 * woman
    t["lashes"] *= 0.55 + 0.9 * t["femininity"]
    t["hair_length"] += 1.6 * woman - 0.3
    t["stubble"] -= 1.6 * max(woman + 0.1, 0)
    t["recession"] = max(t["recession"] + 0.10 * old - 0.14 * woman, -0.05)
    t["fringe"] += 0.5 * woman - 0.25
    t["lines"] = max(0.0, t["lines"] + 0.8 * old)
    t["iris_tone"] *= 1 - 0.75 * max(0.0, t["skin_depth"] - 0.35)
    t["hair_tone"] *= 1 - 0.85 * max(0.0, t["skin_depth"] - 0.25)


def _hair_colour(t: dict[str, float]) -> np.ndarray:
    colour = _along(HAIR, t["hair_tone"])
    red = max(0.0, t["hair_red"] - 0.75) * 3 * (1 - t["skin_depth"])
    colour = colour + (RED_HAIR - colour) * red
    return colour + (GREY_HAIR - colour) * np.clip((t["age"] - 0.72) * 3.2, 0, 0.85)


def _along(palette: np.ndarray, place: float) -> np.ndarray:
    """The colour at ``place`` (0 … 1) along a palette (n, 3)."""
    steps = np.linspace(0, 1, len(palette))
    return np.array([np.interp(place, steps, channel) for channel in palette.T])


def make_scene(person: int, image: int, seed: int) -> Scene:
    """The circumstances of one picture: the same for the same (seed, person, image)."""
    rng = np.random.default_rng((seed, 1, person, image))
    n = NUISANCE
    yaw, pitch, roll = (
        np.deg2rad(np.clip(rng.normal(0, n[f"{axis}_deg"]), -limit, limit)) for axis, limit in POSE_LIMITS_DEG.items()
    )
    directed = n["light"] * rng.random()
    brightness = 1.0 * np.exp(rng.normal(0, n["exposure"]))
    glasses = int(rng.integers(1, 4)) if rng.random() < n["glasses"] else 0
    return Scene(
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        smile=float(np.clip(rng.normal(0.15, n["smile"]), -0.6, 1)),
        mouth_open=float(rng.random()) if rng.random() < n["mouth_open"] else 0.0,
        brow_raise=rng.normal(0, n["brow_raise"]),
        eye_open=0.12 if rng.random() < n["blink"] else float(np.clip(rng.normal(1, n["eye_open"]), 0.55, 1.3)),
        gaze=tuple(np.clip(rng.normal(0, n["gaze"], 2), -0.06, 0.06) * (1, 0.5)),
        light_direction=_light_direction(rng),
        light=brightness * directed * 1.35 * _tint(rng, n["light_tint"]),
        ambient=brightness * (1 - directed) * _tint(rng, n["ambient_tint"]),
        balance=_tint(rng, n["white_balance"]),
        gamma=float(np.exp(rng.normal(0, n["gamma"]))),
        tan=1 + float(rng.normal(0, n["tan"])),
        background=_background(rng),
        glasses=glasses,
        glasses_colour=tuple(int(v) for v in rng.integers(15, 110) + rng.integers(-12, 30, 3)),
        dapple=_dapple(rng),
        hair_change=tuple(rng.normal(0, [n["hair_volume"], n["fringe"], n["fringe_sweep"]]).tolist()),
        tied=bool(rng.random() < n["tied"]),
        hat=float(rng.uniform(0.55, 0.85)) if rng.random() < n["hat"] else 0.0,
        hat_colour=rng.uniform(20, 210) * _tint(rng, 0.5),
        strands=int(rng.integers(1 << 30)),
        blur=n["blur_px"] * rng.random() ** 2,
        noise=n["noise"] * rng.random() ** 2,
        noise_seed=int(rng.integers(1 << 30)),
        jpeg_quality=int(rng.uniform(n["jpeg_lowest"], 96)),
        jitter=rng.normal(0, n["jitter_px"], (5, 2)),
    )


def _tint(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Factors of RGB of about 1: mostly warm against cold, some green against magenta."""
    warm, green = rng.normal(0, strength), rng.normal(0, strength / 3)
    return np.exp([warm, green, -warm])


def _light_direction(rng: np.random.Generator) -> np.ndarray:
    """Unit vector to the light in the camera's frame: from the front half, mostly from above."""
    side, height = rng.uniform(-1.25, 1.25), rng.uniform(-0.35, 0.95)
    return np.array([np.sin(side) * np.cos(height), -np.sin(height), np.cos(side) * np.cos(height)])


def _dapple(rng: np.random.Generator) -> np.ndarray:
    """Shade of leaves, blinds, passers-by: smooth factors of RGB over the picture, (6, 6, 3), about 1."""
    strength = NUISANCE["dapple"]
    shade = rng.normal(0, strength, (6, 6, 1)) + rng.normal(0, 0.25 * strength, (6, 6, 3))
    return np.exp(shade).astype(np.float32)


def _background(rng: np.random.Generator) -> np.ndarray:
    """A blurred room: (5, 5, 3) colours, 0 … 255."""
    base = rng.uniform(40, 225) * _tint(rng, 0.2)
    return np.clip(base * rng.uniform(0.65, 1.3, (5, 5, 1)) + rng.normal(0, 14, (5, 5, 3)), 0, 255)
