"""Photo relighting: an evenly lit photo, its fitted head, and the twenty lightings of the rendered set.

The photo's own light is divided out (`even_light`), what remains stands in for the skin's colour, and the renderer's own ambient
light, flashes with shadows, scattering, highlights, composition and sensor make the images. Compared with a render only colour
and outline come from elsewhere; so lights, exposure and crop are the rendered set's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from legan.core.conditions import LIGHTINGS, Lighting
from legan.core.geometry import CROP_SIZE, Array
from legan_faces3d.head import skin
from legan_faces3d.head.head import BODY, Head
from legan_faces3d.head.identity import Identity, Room, draw_identity
from legan_faces3d.head.landmarks import FacePoints
from legan_faces3d.head.noise import Stream, generator
from legan_faces3d.photo import even_light
from legan_faces3d.photo.checks import check_exposure, check_fit, check_light, confidence, eye_distance
from legan_faces3d.photo.fit import HeadFit
from legan_faces3d.photo.geometry import WINDOW, Layers, build_layers, cast_head, complete, fill, window_of
from legan_faces3d.render import camera as sensor
from legan_faces3d.render import shading
from legan_faces3d.render.gbuffer import GBuffer, Material
from legan_faces3d.render.surface import Surface

SAMPLES_PER_AXIS = 2
_N_AMBIENT_RAYS = 24
_UNIFORM = Room(
    base=np.full(3, 1.0),
    window=np.zeros(3),
    window_direction=np.array([0.0, -1.0, 0.0]),
    backdrop=np.zeros(3),
    shirt=np.zeros(3),
)
# Skin's colour to its brightness in the photo: on fair skin the value that gives the renders' brightness. Photos of other
# brightness are pulled a little towards the usual, as a photographer would, and for faces that were badly exposed.
_ALBEDO_OF_LIGHT, _USUAL_BRIGHTNESS, _PULL = 1.14, 0.30, 0.3
_MIN_PULL, _MAX_PULL = 0.8, 1.6
_MAX_ALBEDO = 0.9
_CHIN_BELOW_MOUTH = 0.05  # metres
_SHADE_BLUR = 0.8  # pixels of a crop: fitted folds never lie quite where the photo's do
_RIM, _RIM_BRIGHTNESS = 1.0, 1.15  # width in pixels of a crop, and how much brighter than what lies inside it may be
# Plain skin this much brighter than its median is lit by what is near it (a white shirt below the jaw); of the rest a part is kept.
_BRIGHT, _KEPT, _BRIGHT_BLUR = 1.25, 0.25, 2.0  # blur in pixels of a crop
_MOUTH_DIMMING = 0.9  # of the lips' light that reaches the teeth


@dataclass(frozen=True)
class Relit:
    """The images of one photo."""

    images: Array  # uint8 (20, size, size, 3), in the order of LIGHTINGS
    original: Array  # uint8 (size, size, 3): the crop as photographed
    confidence: Array  # (20,) 0..1
    matte: Array  # uint8 (size, size): the share of each pixel that is the person's


@dataclass(frozen=True)
class Unlit:
    """A photo freed of its own light, ready for any lighting."""

    layers: Layers
    gbuffer: GBuffer
    surface: Surface
    identity: Identity
    ambient: Array  # (n, 3), of the room
    unevenness: float  # of the photo's own light, as `even_light` estimates it


class Relighter:
    """Relights photos with one head model."""

    def __init__(self, head: Head) -> None:
        self.head = head

    def window(self, fit: HeadFit) -> tuple[Array, int]:
        """The piece of photo that `relight` takes: matrix (2, 3) photo pixels -> its pixels, and its side in pixels."""
        return window_of(fit.matrix, fit.size, SAMPLES_PER_AXIS)

    def relight(self, window: Array, inside: Array, fit: HeadFit, seed: int) -> Relit:
        """Relights one photo.

        Args:
            window: uint8 (side, side, 3) sRGB, cut out as `window` says.
            inside: bool (side, side), False where the photo has ended.
            fit: the head in it.
            seed: of the room's light and the sensor's noise.

        Raises:
            UnusablePhotoError: head turned, bad fit, face cut off, skin overexposed, or light from one side.
        """
        random = generator(seed, Stream.RAYS)
        unlit = self.prepare(window, inside, fit, seed, random)
        images = self.images(unlit, LIGHTINGS, random)
        photo_pixels = float(np.hypot(*fit.matrix[:, 0]))  # crop pixels to one of the photo
        return Relit(
            images=sensor.develop(images, fit.size, generator(seed, Stream.SENSOR)),
            original=self.crop(window),
            confidence=confidence(fit, eye_distance(fit.landmarks) / photo_pixels, unlit.unevenness),
            matte=sensor.develop_matte(unlit.layers.person, fit.size),
        )

    def prepare(self, window: Array, inside: Array, fit: HeadFit, seed: int, random: np.random.Generator) -> Unlit:
        """Take the photo's own light out; arguments and errors as for `relight`, `random` turns the rays."""
        check_fit(fit, inside)
        identity = draw_identity(seed)
        layers, gbuffer = self.see(window, inside, fit, identity)
        occlusion = _occlusion(gbuffer, random)
        core = _plain(gbuffer, layers)
        check_exposure(int(core.sum()))
        even = even_light.estimate(layers.light.reshape(-1, 3)[gbuffer.pixels][core], gbuffer.normal[core], occlusion[core])
        check_light(even.unevenness)
        shade = even_light.shading_of(even, gbuffer.normal, occlusion, core)
        colour = _exposure(even.brightness) * _without_light(gbuffer, layers, shade)
        surface = self._paint(gbuffer, layers, identity, colour)
        ambient = shading.ambient_light(gbuffer, surface.normal, identity.room, _N_AMBIENT_RAYS, random)
        return Unlit(layers, gbuffer, surface, identity, ambient, even.unevenness)

    def images(self, unlit: Unlit, lightings: Sequence[Lighting], random: np.random.Generator) -> Array:
        """Linear images (k, N, N, 3) of a photo under some lightings, before the sensor."""
        gbuffer, layers, surface, identity = unlit.gbuffer, unlit.layers, unlit.surface, unlit.identity
        directions = [shading.image_direction(lighting) for lighting in lightings]
        flashes = [direction for direction in directions if direction is not None]
        light = shading.flash_light(gbuffer, surface, identity, self.head.anchors, flashes, random)
        scattered = shading.scatter(gbuffer, surface, light.diffuse)
        scattered = _soften(gbuffer, layers, scattered.reshape(len(scattered), -1)).reshape(scattered.shape)
        ambient = _soften(gbuffer, layers, unlit.ambient)
        backdrop = layers.light.reshape(-1, 3)
        images = shading.compose(gbuffer, surface, identity, directions, ambient, scattered, light.highlight, backdrop)
        person = layers.person[..., None]
        for image, direction in zip(images, directions, strict=True):
            image *= person
            image += (1 - person) * layers.light * shading.backdrop_level(direction)
        return images

    def crop(self, window: Array) -> Array:
        """The middle of a window as a crop (size, size, 3), under the photo's own light."""
        resolution = round(window.shape[0] / WINDOW)
        margin = (window.shape[0] - resolution) // 2
        size = resolution // SAMPLES_PER_AXIS
        middle = window[margin : margin + resolution, margin : margin + resolution]
        return cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA)

    def plain_skin(self, window: Array, inside: Array, fit: HeadFit) -> tuple[Array, Array, Array]:
        """Colour (n, 3) linear, normals (n, 3) and openness (n,) of a photo's plain skin: what `even_light` estimates from."""
        layers, gbuffer = self.see(window, inside, fit, draw_identity(0))
        core = _plain(gbuffer, layers)
        occlusion = _occlusion(gbuffer, generator(0, Stream.RAYS))
        return layers.light.reshape(-1, 3)[gbuffer.pixels][core], gbuffer.normal[core], occlusion[core]

    def see(self, window: Array, inside: Array, fit: HeadFit, identity: Identity) -> tuple[Layers, GBuffer]:
        """What a photo shows, as masks and as the completed G-buffer of its fitted head; arguments as for `relight`."""
        resolution = fit.size * SAMPLES_PER_AXIS
        vertices = self.head.part_vertices(BODY, fit.vertices(self.head))
        above_chin = self.head.parts[BODY].canonical[:, 2] > self.head.anchors.mouth[2] - _CHIN_BELOW_MOUTH
        outline = fit.camera.project(fit.pose.apply(vertices[above_chin]), fit.size)
        layers = build_layers(window, inside, fit, outline, resolution)
        return layers, complete(cast_head(self.head, fit, identity, resolution), layers, fit, self.head.anchors.eye_radius)

    def _paint(self, gbuffer: GBuffer, layers: Layers, identity: Identity, colour: Array) -> Surface:
        """The photo's colours (N, N, 3), freed of its light, as a surface."""
        at = gbuffer.pixels
        skin_share, hair, eyes, mouth, lips = (
            layer.ravel()[at] for layer in (layers.skin, layers.hair, layers.eyes, layers.mouth, layers.lips)
        )
        points = FacePoints.of(gbuffer.canonical, self.head.anchors)
        specular, roughness = skin.shine(points, identity, lips)
        return Surface(
            albedo=np.minimum(colour.reshape(-1, 3)[at], _MAX_ALBEDO).astype(np.float32),
            specular=(specular * skin_share * (1 - mouth)).astype(np.float32),
            roughness=roughness.astype(np.float32),
            normal=gbuffer.normal,
            skin=(skin_share * (1 - mouth)).astype(np.float32),
            hair=hair.astype(np.float32),
            strands=np.zeros(len(at), np.float32),
            is_eye=eyes > 0.5,
        )


def _plain(gbuffer: GBuffer, layers: Layers) -> Array:
    """Samples (n,) bool of plain skin on the head itself."""
    return layers.core.ravel()[gbuffer.pixels] & gbuffer.is_material(Material.BODY)


def _occlusion(gbuffer: GBuffer, random: np.random.Generator) -> Array:
    """Openness (n,) to light from all round: 0.15 in a deep fold, 1 on a free surface."""
    light = shading.ambient_light(gbuffer, gbuffer.normal, _UNIFORM, _N_AMBIENT_RAYS, random)[:, 0]
    return np.clip(light / np.maximum(0.55 + 0.30 * gbuffer.normal[:, 2], 0.1), 0.15, 1)


def _exposure(brightness: float) -> float:
    """Factor from the photo's light to colour, for plain skin of this brightness."""
    pull = (_USUAL_BRIGHTNESS / max(brightness, 1e-3)) ** _PULL
    return float(_ALBEDO_OF_LIGHT * np.clip(pull, _MIN_PULL, _MAX_PULL))


def _without_light(gbuffer: GBuffer, layers: Layers, shade: Array) -> Array:
    """The photo (N, N, 3) without highlights and divided by its light `shade` (n,), which hair, eyes and teeth keep in part."""
    unit = layers.resolution / CROP_SIZE
    image: Array = np.ones(layers.resolution**2, np.float32)
    image[gbuffer.pixels] = shade
    image = cv2.GaussianBlur(image.reshape(layers.person.shape), (0, 0), _SHADE_BLUR * unit)
    own = np.clip(layers.mouth + 0.6 * layers.eyes + 0.55 * layers.hair + (1 - layers.person), 0, 1)
    plain = layers.skin * (1 - cv2.GaussianBlur(layers.features, (0, 0), 0.7 * unit))
    light = even_light.without_highlights(layers.light, plain, layers.core, unit)
    colour = _without_glow(light / (image * (1 - own) + own)[..., None], plain, layers.core, unit)
    return _without_rim(colour, layers.person, unit)


def _without_glow(colour: Array, plain: Array, core: Array, unit: float) -> Array:
    """Colour (N, N, 3) whose plain skin (N, N) is nowhere far above its median, in any channel: a lamp would make it glare."""
    weight = plain + 1e-3
    blur = _BRIGHT_BLUR * unit
    smooth = cv2.GaussianBlur(colour * weight[..., None], (0, 0), blur) / cv2.GaussianBlur(weight, (0, 0), blur)[..., None]
    ratio = np.maximum(smooth / np.maximum(np.median(colour[core], axis=0), 1e-4), 1e-4)
    factor = 1 - (1 - _KEPT) * np.maximum(ratio - _BRIGHT, 0) / ratio
    return (colour * (1 + plain[..., None] * (factor - 1))).astype(np.float32)


def _without_rim(colour: Array, person: Array, unit: float) -> Array:
    """Colour (N, N, 3) whose outline is no brighter than the person beside it: there a bright backdrop shines through."""
    sure = cv2.erode((person > 0.98).astype(np.float32), np.ones((3, 3)), iterations=max(1, round(_RIM * unit)))
    near_edge = (person < 0.98) | (sure == 0)
    return np.where(near_edge[..., None], np.minimum(colour, _RIM_BRIGHTNESS * fill(colour, sure)), colour).astype(np.float32)


def _soften(gbuffer: GBuffer, layers: Layers, light: Array) -> Array:
    """Light (n, k): teeth take the light of the lips round them, eyes and hair a smoother one than the head's own mesh gives."""
    resolution = gbuffer.resolution
    unit = resolution / CROP_SIZE
    image: Array = np.zeros((resolution * resolution, light.shape[1]), np.float32)
    image[gbuffer.pixels] = light
    image = image.reshape(resolution, resolution, -1)
    covered: Array = np.zeros(resolution * resolution, np.float32)
    covered[gbuffer.pixels] = 1
    covered = covered.reshape(resolution, resolution)
    lips = np.clip(layers.lips - layers.mouth, 0, 1) * covered
    image = _mixed(image, lips, layers.mouth, 3 * unit, _MOUTH_DIMMING)
    image = _mixed(image, covered, 0.7 * layers.eyes, 1.2 * unit, 1.0)
    image = _mixed(image, covered * (0.05 + layers.hair), layers.hair, 1.0 * unit, 1.0)
    return image.reshape(-1, light.shape[1])[gbuffer.pixels]


def _mixed(image: Array, source: Array, share: Array, blur: float, factor: float) -> Array:
    """Mixes in, by `share` (N, N), the blurred light of the samples in `source` (N, N)."""
    rows, columns = np.flatnonzero(share.max(axis=1) > 0.004), np.flatnonzero(share.max(axis=0) > 0.004)
    if not len(rows):
        return image
    margin = int(3 * blur) + 1
    box = (
        slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
        slice(max(columns[0] - margin, 0), columns[-1] + margin + 1),
    )
    weight, part = source[box][..., None], share[box][..., None]
    spread = shading.blur_channels(image[box] * weight, blur) / np.maximum(shading.blur_channels(weight, blur), 1e-4)
    image[box] = image[box] * (1 - part) + factor * spread * part
    return image
