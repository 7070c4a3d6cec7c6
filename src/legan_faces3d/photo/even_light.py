"""The even light of a photo, taken out: a studio's soft light in spherical harmonics, and the skin's highlights.

Irradiance of distant light is nearly a second-order spherical harmonic of the normal (Ramamoorthi and Hanrahan, SIGGRAPH 2001).
A usual studio light, dimmed by ambient occlusion, is the prior; each photo moves it a little, estimated from plain skin of like
colour. Highlights are what is whiter than the skin's own colour (Shafer's dichromatic model, 1985).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from legan.core.geometry import Array, smoothstep

# Usual light, relative to plain skin's median; made by `python experiments/relight/even_light.py LONDON` from 27 studio photos.
USUAL = np.array([0.854, -0.063, -0.212, 0.040, 0.020, -0.029, 0.241, 0.362, -0.015])
_DEVIATION = np.array([0.18, 0.10, 0.15, 0.12, 0.05, 0.05, 0.08, 0.08, 0.08])  # of a photo's light about the usual
_NOISE = 0.15  # of skin's brightness about its mean, as a part of it
_N_SAMPLES_EACH = 60  # neighbouring samples tell the same: this many count as one
_N_ROUNDS = 4
_LEAST, _MOST = 0.42, 1.5  # of the light relative to plain skin
_OCCLUDED = 0.75  # of the light is what occlusion can take
_HIGHLIGHT = 0.8  # of a highlight is taken out
_LUMINANCE = np.array([0.3, 0.5, 0.2], np.float32)


@dataclass(frozen=True)
class EvenLight:
    """The light of one photo."""

    coefficients: Array  # (9,)
    brightness: float  # luminance of plain skin, median
    unevenness: float  # log2 of right half's light over the left's on a face of this light, 0 for even light


def harmonics(normals: Array) -> Array:
    """(n, 9) basis at unit normals (n, 3): constant; to the right, to the camera, up; second order."""
    x, y, z = normals[:, 0], normals[:, 1], normals[:, 2]
    second = [x * z, -x * y, -y * z, 3 * y * y - 1, x * x - z * z]
    return np.stack([np.ones_like(x), x, -y, z, *second], axis=1)


def estimate(light: Array, normals: Array, occlusion: Array) -> EvenLight:
    """Estimates a photo's light.

    Args:
        light: (n, 3) linear RGB of plain skin.
        normals: (n, 3).
        occlusion: (n,) 0 dark .. 1 open.
    """
    luminance = light @ _LUMINANCE
    brightness = float(np.median(luminance))
    design = harmonics(normals) * dimming(occlusion)[:, None]
    target = luminance / max(brightness, 1e-4)
    coefficients, weights = USUAL, np.ones(len(target))
    precision = 1 / _DEVIATION**2
    for _ in range(_N_ROUNDS):
        weighted = design * (weights / (_NOISE**2 * _N_SAMPLES_EACH))[:, None]
        system = weighted.T @ design + np.diag(precision)
        coefficients = np.linalg.solve(system, weighted.T @ target + precision * USUAL)
        weights = 1 / (1 + ((target - design @ coefficients) / _NOISE) ** 2)
    sideways = coefficients @ harmonics(np.array([[0.6, -0.8, 0.0], [-0.6, -0.8, 0.0]])).T
    return EvenLight(coefficients, brightness, float(np.log2(max(sideways[0], 0.05) / max(sideways[1], 0.05))))


def shading_of(even: EvenLight, normals: Array, occlusion: Array, core: Array) -> Array:
    """The photo's light (n,) at samples, 1 at the median of plain skin (`core`, bool (n,))."""
    shade = np.maximum(harmonics(normals) @ even.coefficients, 0) * dimming(occlusion)
    return np.clip(shade / max(float(np.median(shade[core])), 1e-3), _LEAST, _MOST).astype(np.float32)


def dimming(occlusion: Array) -> Array:
    """Factor (n,) of the light at points of this openness (n,)."""
    return 1 - _OCCLUDED + _OCCLUDED * occlusion


def without_highlights(light: Array, plain: Array, core: Array, unit: float) -> Array:
    """Takes most of the highlights out of a photo.

    Args:
        light: (N, N, 3) linear.
        plain: (N, N) 0..1: plain skin, without eyes, brows and mouth.
        core: (N, N) bool.
        unit: samples to a pixel of a 128-pixel crop.
    """
    colour = np.median(light[core], axis=0)
    colour = colour / colour.sum() * 3
    chroma = colour - colour.mean()
    mean = light.mean(axis=2)
    amount = ((light - mean[..., None]) @ chroma) / max(float(chroma @ chroma), 1e-4)
    white = mean - amount * colour.mean()  # light = amount * colour + white

    def usual(values: Array) -> Array:
        weight = (plain + 1e-3).astype(np.float32)
        return cv2.GaussianBlur(values * weight, (0, 0), 7 * unit) / cv2.GaussianBlur(weight, (0, 0), 7 * unit)

    excess = np.minimum(np.maximum(white - usual(white), 0), np.maximum(mean - usual(mean), 0))
    excess = cv2.GaussianBlur(excess, (0, 0), 0.25 * unit) * smoothstep(0.5, 0.95, plain)
    return np.maximum(light - _HIGHLIGHT * excess[..., None], 0.25 * light).astype(np.float32)
