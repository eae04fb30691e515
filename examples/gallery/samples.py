"""Landscapes drawn by code, so that there is something to look at.

    python -m examples.gallery.samples FOLDER

writes them as files, to be dropped on the page.
"""

import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Color = tuple[int, int, int]

# Drawn larger, then reduced: Pillow's polygons have hard edges.
SCALE = 2


@dataclass(frozen=True, slots=True)
class Scene:
    """A landscape: sky, ridges from far to near, and what is special about it.

    Attributes:
        size: Width and height, pixels.
        sky: Colours from the top to the horizon.
        land: Colours of the farthest and the nearest ridge.
        ridges: How many.
        horizon: Where the farthest ridge stands, from the top, of the height.
        rough: How jagged ridges are, from 0 for dunes to 1.
        sun: Where it stands, of width and height, and its radius, of the height.
        light: Its colour.
        stars: How many.
        water: Whether the lower part mirrors the upper one.
        trees: Whether firs stand on the nearest ridges.
        aurora: Colours of curtains of light.
    """

    size: tuple[int, int]
    sky: Sequence[Color]
    land: tuple[Color, Color]
    ridges: int = 5
    horizon: float = 0.5
    rough: float = 0.6
    sun: tuple[float, float, float] | None = None
    light: Color = (255, 240, 205)
    stars: int = 0
    water: bool = False
    trees: bool = False
    aurora: Sequence[Color] = ()


SCENES: dict[str, Scene] = {
    "quiet-valley.jpg": Scene(
        (1600, 1067), [(62, 96, 155), (150, 178, 214), (250, 220, 190)],
        ((176, 178, 205), (27, 44, 66)), sun=(0.68, 0.42, 0.05), trees=True,
    ),
    "dunes-at-noon.jpg": Scene(
        (1600, 1067), [(60, 130, 190), (150, 200, 225), (240, 232, 214)],
        ((236, 196, 140), (176, 98, 48)), horizon=0.5, rough=0.05, ridges=6,
    ),
    "northern-lights.jpg": Scene(
        (1200, 1500), [(6, 10, 30), (14, 32, 62), (28, 74, 92)], ((22, 48, 66), (5, 10, 18)),
        horizon=0.72, stars=420, trees=True, aurora=((70, 240, 160), (90, 150, 255)), ridges=4,
    ),
    "last-light.jpg": Scene(
        (1800, 1000), [(44, 38, 92), (158, 72, 124), (250, 138, 96), (255, 208, 140)],
        ((164, 92, 122), (28, 18, 48)), sun=(0.36, 0.5, 0.09), horizon=0.56, rough=0.5,
    ),
    "lake-mirror.jpg": Scene(
        (1600, 1067), [(52, 104, 156), (146, 192, 214), (244, 226, 206)],
        ((130, 156, 180), (34, 66, 74)), horizon=0.36, water=True, trees=True, ridges=4,
    ),
    "red-planet.jpg": Scene(
        (1400, 1400), [(64, 22, 40), (164, 62, 58), (240, 158, 104)],
        ((190, 92, 74), (52, 16, 30)), sun=(0.3, 0.26, 0.11), light=(255, 226, 190),
        horizon=0.58, rough=0.75, ridges=6,
    ),
    "blue-hour.jpg": Scene(
        (1600, 1067), [(16, 24, 66), (48, 76, 142), (150, 150, 200), (240, 190, 190)],
        ((92, 104, 160), (14, 20, 46)), stars=110, horizon=0.54, rough=0.8, ridges=6,
    ),
    "open-sea.jpg": Scene(
        (1700, 1000), [(72, 70, 138), (222, 116, 120), (255, 196, 138)],
        ((112, 70, 112), (70, 46, 86)), sun=(0.5, 0.47, 0.085), horizon=0.55, ridges=1,
        rough=0.12, water=True,
    ),
    "spring-hills.jpg": Scene(
        (1600, 1067), [(92, 164, 214), (186, 222, 234), (250, 244, 224)],
        ((168, 202, 158), (44, 104, 62)), horizon=0.5, rough=0.14, ridges=6,
        sun=(0.8, 0.24, 0.045),
    ),
    "fog-in-the-firs.jpg": Scene(
        (1100, 1500), [(150, 170, 178), (196, 208, 208), (232, 234, 226)],
        ((192, 204, 204), (22, 46, 48)), horizon=0.32, rough=0.45, ridges=7, trees=True,
    ),
    "moonrise.jpg": Scene(
        (1500, 1000), [(10, 12, 34), (32, 38, 84), (84, 84, 140)],
        ((52, 56, 104), (8, 9, 22)), sun=(0.7, 0.3, 0.065), light=(240, 240, 255), stars=260,
        horizon=0.6, water=True, ridges=3,
    ),
    "violet-range.jpg": Scene(
        (1800, 1067), [(104, 92, 186), (190, 150, 214), (255, 214, 214)],
        ((178, 150, 206), (46, 30, 86)), horizon=0.46, rough=0.9, ridges=6,
        sun=(0.2, 0.36, 0.05),
    ),
}  # fmt: skip


def between(one: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def gradient(size: tuple[int, int], colors: Sequence[Color]) -> Image.Image:
    column = Image.new("RGB", (1, len(colors)))
    column.putdata(list(colors))
    # One pixel for each colour, in the middle of its stripe; smooth in between.
    return column.resize(size, Image.Resampling.BICUBIC, (0, 0.5, 1, len(colors) - 0.5))


def ridge(width: int, rough: float, dice: random.Random) -> list[float]:
    """Heights from about -1 to 1: waves, with more small ones for rough terrain."""
    fading = 0.32 + 0.24 * rough
    waves = [
        (2**octave * dice.uniform(0.8, 1.25), dice.uniform(0, math.tau), fading**octave)
        for octave in range(2 if rough < 0.2 else 8)
    ]  # fmt: skip
    heights = []
    for x in range(width):
        at = x / width * math.tau
        total = 0.0
        for frequency, phase, weight in waves:
            wave = math.sin(at * frequency + phase)
            # Peaks instead of hills.
            total += weight * ((1 - 2 * abs(wave)) * rough + wave * (1 - rough))
        heights.append(total)
    return heights


def glow(image: Image.Image, center: tuple[float, float], radius: float, color: Color) -> None:
    """Light around a point, added to the picture."""
    side = max(2, round(radius * 2))
    light = ImageChops.invert(Image.radial_gradient("L")).resize((side, side))
    light = light.point([round(255 * max(0.0, (v - 75) / 180) ** 2.2) for v in range(256)])
    layer = Image.new("RGB", image.size)
    corner = (round(center[0] - side / 2), round(center[1] - side / 2))
    layer.paste(Image.new("RGB", (side, side), color), corner, light)
    image.paste(ImageChops.screen(image, layer))


def firs(
    draw: ImageDraw.ImageDraw, ground: list[float], height: int, share: float, color: Color,
    dice: random.Random,
) -> None:  # fmt: skip
    step = height * 0.012 * (0.5 + share)
    x = 0.0
    while x < len(ground):
        tall = height * dice.uniform(0.025, 0.065) * (0.35 + share)
        wide, foot = tall * dice.uniform(0.16, 0.22), ground[int(x)] + tall * 0.12
        for level in range(4):
            top, low = foot - tall * (1 - level * 0.2), foot - tall * (0.62 - level * 0.205)
            spread = wide * (0.42 + level * 0.2)
            draw.polygon([(x, top), (x - spread, low), (x + spread, low)], fill=color)
        x += step * dice.uniform(0.5, 1.9)


def paint(scene: Scene, seed: str) -> Image.Image:
    """Draw a scene; the same picture for the same seed."""
    dice = random.Random(seed)  # noqa: S311
    width, height = scene.size[0] * SCALE, scene.size[1] * SCALE
    base = int(height * scene.horizon)
    image = Image.new("RGB", (width, height), scene.sky[-1])
    image.paste(gradient((width, int(height * (scene.horizon + 0.12))), scene.sky))
    draw = ImageDraw.Draw(image)
    for _ in range(scene.stars):
        x, y, size = dice.uniform(0, width), dice.uniform(0, base), dice.uniform(0.6, 2.6)
        shade = dice.randint(130, 255)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(shade, shade, 255))
    for color in scene.aurora:
        curtain(image, color, base, dice)
    if scene.sun:
        center, radius = (scene.sun[0] * width, scene.sun[1] * height), scene.sun[2] * height
        glow(image, center, radius * 9, between(scene.light, scene.sky[-1], 0.45))
        glow(image, center, radius * 3.5, scene.light)
        x, y = center
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=scene.light)

    bottom = height
    if scene.water:
        bottom = int(height * (scene.horizon + 0.04 + 0.045 * scene.ridges))
    for number in range(scene.ridges):
        share = number / max(1, scene.ridges - 1)
        color = between(*scene.land, share**0.85)
        reach = height * (0.05 + 0.075 * scene.rough) * (1 - 0.25 * share)
        level = base + (bottom - base) * 0.92 * share**1.15
        ground = [
            level - reach * y for y in ridge(width, scene.rough * (1 - 0.4 * share), dice)
        ]
        haze = between(color, scene.land[0], 0.55 - 0.45 * share)
        layer = gradient((width, height - base + 1), [color, color, haze])
        mask = Image.new("L", (width, height))
        pen = ImageDraw.Draw(mask)
        pen.polygon([(0, height), *enumerate(ground), (width, height)], fill=255)
        if scene.trees and share > 0.3:
            firs(draw, ground, height, share, color, dice)
        full = Image.new("RGB", (width, height), color)
        full.paste(layer, (0, base))
        image.paste(full, mask=mask)
    if scene.water:
        mirror(image, bottom, dice)
    return image.resize(scene.size, Image.Resampling.LANCZOS)


def curtain(image: Image.Image, color: Color, base: int, dice: random.Random) -> None:
    width, _ = image.size
    layer = Image.new("RGB", image.size)
    draw = ImageDraw.Draw(layer)
    phases = [dice.uniform(0, math.tau) for _ in range(3)]
    middle = base * dice.uniform(0.45, 0.7)
    for x in range(0, width, 4):
        at = x / width * math.tau
        wave = math.sin(at + phases[0]) + 0.4 * math.sin(2.7 * at + phases[1])
        foot = middle + base * 0.16 * wave
        tall = base * (
            0.34 + 0.12 * math.sin(5.1 * at + phases[2]) + dice.uniform(-0.03, 0.03)
        )
        for step in range(24):
            share = (step + 0.5) / 24
            strength = 0.75 * math.sin(math.pi * share**0.45) ** 1.5
            top = foot - tall * share
            draw.rectangle(
                (x, top - tall / 24, x + 4, top), fill=between((0, 0, 0), color, strength)
            )
    blurred = layer.filter(ImageFilter.GaussianBlur(width / 130))
    image.paste(ImageChops.screen(image, blurred))


def mirror(image: Image.Image, shore: int, dice: random.Random) -> None:
    """Mirror what is above the shore below it, with ripples."""
    width, height = image.size
    depth = height - shore
    above = image.crop((0, max(0, shore - depth), width, shore))
    below = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((width, depth))
    below = below.filter(ImageFilter.GaussianBlur(5))
    rippled = Image.new("RGB", (width, depth))
    phase = dice.uniform(0, math.tau)
    for y in range(0, depth, 2):
        share = y / depth
        shift = round(math.sin(phase + 90 * share**0.6) * (2 + 26 * share))
        row = below.crop((0, y, width, y + 2))
        rippled.paste(ImageChops.offset(row, shift, 0), (0, y))
    dark = gradient((width, depth), [(225, 230, 238), (150, 160, 185)])
    image.paste(ImageChops.multiply(rippled, dark), (0, shore))


def sample(name: str) -> bytes:
    """One of `SCENES` as a JPEG; takes a second or so of CPU time."""
    content = BytesIO()
    paint(SCENES[name], name).save(content, "JPEG", quality=90)
    return content.getvalue()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.gallery.samples FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCENES:
        (folder / name).write_bytes(sample(name))
        print(folder / name)


if __name__ == "__main__":
    main()
