"""Convert HDR pictures to standard dynamic range.

ITU-R BT.2100 defines the two transfer functions, PQ and HLG; BT.2408 sets diffuse white to 203
cd/m2. Brighter light is rolled off instead of clipped, and wide-gamut colours are mapped to BT.709.
"""

import numpy as np

PAPER_WHITE = 203.0
PEAK = 1000.0 / PAPER_WHITE
ROLL_OFF_FROM = 0.75
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
TRANSFERS = ("SMPTE2084", "ARIB_STD_B67")


def to_standard_range(picture: np.ndarray, transfer: str) -> np.ndarray:
    """Convert HDR (H, W, 3) uint16 in BT.2020 to uint8 sRGB."""
    signal = picture.astype(np.float64) / 65535
    light = _pq_light(signal) if transfer == "SMPTE2084" else _hlg_light(signal)
    brightest = light.max(axis=2, keepdims=True)
    rolled = _roll_off(brightest) / np.maximum(brightest, 1e-9)
    narrow = np.clip((light * rolled) @ BT2020_TO_BT709.T, 0, 1)
    encoded = np.where(narrow <= 0.0031308, 12.92 * narrow, 1.055 * narrow ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


def _pq_light(signal: np.ndarray) -> np.ndarray:
    """Convert a PQ signal (SMPTE ST 2084) to light, diffuse white 1.0."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = signal ** (1 / m2)
    return 10_000 / PAPER_WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    """Convert HLG (ARIB STD-B67) for 1000 cd/m2, system gamma 1.2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return PEAK * scene * np.maximum(luminance, 1e-9)[..., None] ** 0.2


def _roll_off(light: np.ndarray) -> np.ndarray:
    """Compress light above a knee, so that it stays below 1."""
    room, excess = 1 - ROLL_OFF_FROM, np.maximum(light - ROLL_OFF_FROM, 0)
    return np.minimum(light, ROLL_OFF_FROM) + room * (1 - np.exp(-excess / room))
