"""The parts of a bare face as a camera sees it: skin, lips, lids, eyeballs, mouth, as pictures over its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from legan.synthesis.face_view import FaceView
from legan.synthesis.gbuffer import Material
from legan.synthesis.head import BODY, Head
from legan.synthesis.vectors import Array, dot

_FACING = 0.25  # cosine to the camera: flatter skin lies too near the outline to be trusted
_NO_LIP = 14.0  # squared Mahalanobis distance from the colours of the lips' rim
_TEETH_REACH = 7.0  # pixels of a 128-pixel crop that fitted lips may cover of the teeth
_DEPTH, _CHIN = 0.05, -0.133  # metres from the eyes: ears and neck lie behind and below


@dataclass(frozen=True)
class Movers:
    """How much each vertex (v,) of the solid mesh goes with the lower jaw and with the upper lids, 0..1."""

    jaw: Array
    lid: Array

    @classmethod
    def of(cls, head: Head) -> Movers:
        def reach(*actions: str) -> Array:
            base = np.zeros_like(head.canonical_base)
            for action in actions:
                rows, offsets = head.actions[action]
                base[rows] += offsets
            return np.linalg.norm(head.solid_vertices(base), axis=1)

        jaw, lid = reach("jawOpen"), reach("eyeBlinkLeft", "eyeBlinkRight")
        body = len(head.parts[BODY].canonical)
        jaw, lid = jaw / jaw[head.lip_vertices].max(), lid / lid[:body].max()
        return cls(np.minimum(jaw, 1).astype(np.float32), np.minimum(lid, 1).astype(np.float32))


@dataclass(frozen=True)
class Parts:
    """Boolean pictures (N, N), except where told."""

    view: FaceView
    body: Array
    eyes: Array
    cavity: Array  # what one sees between the lips: gums, teeth, tongue
    lips: Array
    lower: Array  # float32: 1 below the line between the lips, 0 above it
    lid: Array  # float32: 1 on the edge of the upper lids
    front: Array  # the face without its outline, ears and neck
    opening: Array  # what the picture shows between the lips; in a picture to be made, the cavity

    @cached_property
    def beyond_seam(self) -> Array:
        """Distance (N, N) in pixels from the line between the lips, from the opening where the mouth is open."""
        mouth = (self.lips | self.cavity) & self.body | self.cavity
        below = self.lower > 0.5
        line = self.opening.copy()
        line[:-1] |= mouth[:-1] & mouth[1:] & ~below[:-1] & below[1:]
        if not line.any():
            return np.full(line.shape, np.inf)
        return distance_transform_edt(~line)


def parts_of(head: Head, view: FaceView, movers: Movers) -> Parts:
    """Tells the parts apart."""
    gbuffer = view.gbuffer
    body = gbuffer.is_material(Material.BODY)
    inside = (head.masks.mouth(gbuffer.uv) > 0.5) & body
    cavity = inside | gbuffer.is_material(Material.UPPER_TEETH, Material.LOWER_TEETH, Material.TONGUE)
    lips = (head.masks.lips(gbuffer.uv) > 0.4) & body
    local = gbuffer.canonical - head.anchors.eyes
    facing = dot(gbuffer.normal, gbuffer.to_camera)
    front = (facing > _FACING) & (local[:, 1] < _DEPTH) & (local[:, 2] > _CHIN)
    return Parts(
        view=view,
        body=view.picture(body & ~cavity, False),
        eyes=view.picture(gbuffer.is_material(Material.LEFT_EYE, Material.RIGHT_EYE), False),
        cavity=view.picture(cavity, False),
        lips=view.picture(lips & ~cavity, False),
        lower=view.picture(view.of_vertices(movers.jaw[:, None])[:, 0]),
        lid=view.picture(view.of_vertices(movers.lid[:, None])[:, 0] * body),
        front=view.picture(front | cavity, False),
        opening=view.picture(cavity, False),
    )


def shut(parts: Parts) -> Parts:
    """The parts of a face whose lips are known to be closed: slits that the mesh leaves are lips."""
    none = np.zeros_like(parts.cavity)
    return replace(parts, body=parts.body | parts.cavity, lips=parts.lips | parts.cavity, cavity=none, opening=none)


def with_opening(parts: Parts, light: Array, unit: float) -> Parts:
    """The parts of an open mouth, with teeth that the fitted lips cover: what is within them and has not their colour.

    Args:
        light: (N, N, 3) the photo, linear.
        unit: samples to a pixel of a 128-pixel crop.
    """
    colour = np.log(light + 0.004)
    rim = parts.lips & (parts.beyond_seam > np.percentile(parts.beyond_seam[parts.lips], 60))
    if rim.sum() < 30:
        return parts
    middle = np.median(colour[rim], axis=0)
    covariance = np.cov((colour[rim] - middle).T) + 0.01 * np.eye(3)
    offset = colour - middle
    distance = np.einsum("...i,ij,...j", offset, np.linalg.inv(covariance), offset)
    mouth = cv2.erode((parts.lips | parts.cavity).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=round(0.8 * unit))
    strange = (mouth > 0) & (distance > _NO_LIP) & (parts.beyond_seam < _TEETH_REACH * unit) | parts.cavity
    strange = cv2.morphologyEx(strange.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces = cv2.connectedComponents(strange)
    inner = np.isin(pieces, np.setdiff1d(pieces[parts.beyond_seam < 0.5 * unit], 0)) | parts.cavity
    # gums and tongue have the colour of lips, but stand between teeth
    whole = np.logical_or.accumulate(inner, axis=0) & np.logical_or.accumulate(inner[::-1], axis=0)[::-1]
    grown = cv2.dilate(whole.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=round(0.4 * unit)) > 0
    return replace(parts, opening=grown & (mouth > 0) | parts.cavity)
