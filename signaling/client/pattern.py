"""The test picture: colour bars, a moving box, a frame counter and the clock, drawn without any library.

From top to bottom: seven colour bars, a band in which a box moves, a line with the frame counter and the time of
day, and a strip of 24 black and white blocks that repeats the counter for machines and survives lossy coding.
What does not move is drawn once; a frame costs three copies and some two hundred row writes.
"""

from __future__ import annotations

from typing import NamedTuple

from av import VideoFrame

WHITE, BLACK, NEUTRAL = 235, 16, 128
DIM = 150
"""Luma of the box between the beeps."""

BARS: tuple[tuple[int, int, int], ...] = (
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
)
"""Y, Cb, Cr of 75 % white, yellow, cyan, green, magenta, red and blue (ITU-R BT.601, limited range)."""

MIN_WIDTH, MIN_HEIGHT = 384, 216
"""Below this the strip's blocks would be smaller than the 16 pixels that survive any coding."""
MAX_WIDTH, MAX_HEIGHT = 3840, 2160
"""Above this nobody encodes in real time in Python."""

SYNC_BITS, COUNTER_BITS, CHECK_BITS = 2, 18, 4
STRIP_BLOCKS = SYNC_BITS + COUNTER_BITS + CHECK_BITS
COUNTER_MODULO = 1 << COUNTER_BITS
"""The strip's counter wraps here: after 2.4 hours at 30 frames a second."""

_BIT_ONE_LUMA, _BIT_ZERO_LUMA = 160, 95
"""A block's mean has to be above the one or below the other; anything between is no block of ours."""
_SAMPLES_PER_SIDE = 5
"""Pixels read along each side of a block's middle."""

# Which segments a character lights, row class by row class, as (left, middle, right).
# Classes: top bar, upper half twice, middle bar, lower half twice, bottom bar.
_SEGMENTS = {
    "0": "abcdef",
    "1": "bc",
    "2": "abged",
    "3": "abgcd",
    "4": "fgbc",
    "5": "afgcd",
    "6": "afgedc",
    "7": "abc",
    "8": "abcdefg",
    "9": "abcdfg",
}
_ROW_CLASSES = 7


class _Rect(NamedTuple):
    left: int
    top: int
    width: int
    height: int


def strip_height(height: int) -> int:
    """Return the strip's height in pixels for a picture `height` pixels high."""
    return max(16, height // 12) & ~1


def _check_bits(counter: int) -> int:
    check = 0xA  # so that neither an all-black nor an all-white strip is valid
    while counter:
        check ^= counter & 0xF
        counter >>= 4
    return check


def _strip_bits(counter: int) -> list[int]:
    value = counter % COUNTER_MODULO
    word = (0b10 << COUNTER_BITS | value) << CHECK_BITS | _check_bits(value)
    return [word >> shift & 1 for shift in range(STRIP_BLOCKS - 1, -1, -1)]


def _glyph(character: str, width: int, thickness: int, gap: int) -> tuple[bytes, ...]:
    """Return the pixel row of each row class of a character, `width` pixels wide plus `gap`."""
    inner = width - 2 * thickness

    def row(left: bool, middle: bool, right: bool) -> bytes:  # noqa: FBT001 - three lamps, in reading order
        parts = ((left, thickness), (middle, inner), (right, thickness))
        return b"".join(bytes([WHITE if lit else BLACK]) * size for lit, size in parts) + bytes([BLACK]) * gap

    if character in ":. ":
        off = row(left=False, middle=False, right=False)
        side = (width - 2 * thickness) // 2
        dot = off[:side] + bytes([WHITE]) * (2 * thickness) + off[side + 2 * thickness :]
        lit = {":": (2, 4), ".": (6,), " ": ()}[character]
        return tuple(dot if index in lit else off for index in range(_ROW_CLASSES))
    on = _SEGMENTS[character].__contains__
    top = row(on("a") or on("f"), on("a"), on("a") or on("b"))
    upper = row(on("f"), False, on("b"))  # noqa: FBT003
    middle = row(on("g") or on("f"), on("g"), on("g") or on("b"))
    lower = row(on("e"), False, on("c"))  # noqa: FBT003
    bottom = row(on("d") or on("e"), on("d"), on("d") or on("c"))
    return (top, upper, upper, middle, lower, lower, bottom)


class TestPattern:
    """Draw numbered frames of one size, in pixels; both sides even and within the limits above."""

    __test__ = False  # not a test case, whatever its name suggests to pytest

    def __init__(self, width: int, height: int) -> None:
        if not (MIN_WIDTH <= width <= MAX_WIDTH and MIN_HEIGHT <= height <= MAX_HEIGHT) or (width | height) & 1:
            raise ValueError(
                f"a test picture of {width}x{height} cannot be drawn: "
                f"even sizes from {MIN_WIDTH}x{MIN_HEIGHT} to {MAX_WIDTH}x{MAX_HEIGHT} can"
            )
        self.width, self.height = width, height
        strip = strip_height(height)
        bars = (height * 55 // 100) & ~1
        band = (height * 12 // 100) & ~1
        text = height - strip - bars - band
        self._strip = _Rect(0, height - strip, width, strip)
        self._box = _Rect(0, bars + band // 8, band, band * 3 // 4)
        # Six digits, two blanks and twelve characters of time, with a margin of one cell on either side.
        cell = width // 22
        self._text = _Rect(cell, bars + band + text // 6, 20 * cell, text * 2 // 3)
        gap = max(2, cell // 5)
        thickness = max(2, cell // 7)
        self._glyphs = {c: _glyph(c, cell - gap, thickness, gap) for c in "0123456789:. "}
        self._row_classes = self._classes_of_rows(self._text.height, thickness)
        self._strides: list[int] = []
        self._background: list[bytes] = []
        self._paint_background(bars)

    @staticmethod
    def _classes_of_rows(height: int, thickness: int) -> list[int]:
        half = (height - 3 * thickness) // 2
        first = half // 2
        sizes = (thickness, first, half - first, thickness, half - first, first, thickness)
        return [index for index, size in enumerate(sizes) for _ in range(size)]

    def _paint_background(self, bars: int) -> None:
        for index, plane in enumerate(VideoFrame(self.width, self.height, "yuv420p").planes):
            stride = plane.line_size
            halved = 1 if index else 0
            width, height, bar_rows = self.width >> halved, self.height >> halved, bars >> halved
            rest = NEUTRAL if index else BLACK
            edges = [width * bar // len(BARS) for bar in range(len(BARS) + 1)]
            row = b"".join(bytes([colour[index]]) * (edges[bar + 1] - edges[bar]) for bar, colour in enumerate(BARS))
            row += bytes([rest]) * (stride - width)
            self._strides.append(stride)
            self._background.append(row * bar_rows + bytes([rest]) * (stride * (height - bar_rows)))

    def draw(self, counter: int, clock: str, *, bright: bool = False) -> VideoFrame:
        """Return frame number `counter` as yuv420p, with `clock` (digits, `:` and `.`, 12 characters) written into it.

        `bright` lights the box fully: it blinks with the beep, so that lip sync can be seen.
        """
        frame = VideoFrame(self.width, self.height, "yuv420p")
        for plane, background in zip(frame.planes, self._background, strict=True):
            memoryview(plane)[:] = background
        luma = memoryview(frame.planes[0])
        self._draw_box(luma, counter, WHITE if bright else DIM)
        self._draw_text(luma, f"{counter % 1_000_000:06d}  {clock:12.12s}")
        self._draw_strip(luma, counter)
        return frame

    def _draw_box(self, luma: memoryview, counter: int, value: int) -> None:
        box, stride = self._box, self._strides[0]
        travel = self.width - box.width
        position = counter * max(2, self.width // 160) % (2 * travel)
        left = min(position, 2 * travel - position)
        row = bytes([value]) * box.width
        for y in range(box.top, box.top + box.height):
            start = y * stride + left
            luma[start : start + box.width] = row

    def _draw_text(self, luma: memoryview, text: str) -> None:
        glyphs, stride = [self._glyphs[character] for character in text], self._strides[0]
        rows = [b"".join(glyph[index] for glyph in glyphs) for index in range(_ROW_CLASSES)]
        size = len(rows[0])
        start = self._text.top * stride + self._text.left
        for index in self._row_classes:
            luma[start : start + size] = rows[index]
            start += stride

    def _draw_strip(self, luma: memoryview, counter: int) -> None:
        edges = [self.width * block // STRIP_BLOCKS for block in range(STRIP_BLOCKS + 1)]
        row = b"".join(
            bytes([WHITE if bit else BLACK]) * (edges[block + 1] - edges[block])
            for block, bit in enumerate(_strip_bits(counter))
        )
        stride = self._strides[0]
        for y in range(self._strip.top, self.height):
            luma[y * stride : y * stride + self.width] = row


def read_frame_counter(frame: VideoFrame) -> int | None:
    """Return the frame number (modulo `COUNTER_MODULO`) that a test picture carries, or None if it carries none.

    Works on decoded pictures of any size and pixel format, as long as the whole picture is there.
    """
    if frame.format.name not in {"yuv420p", "yuvj420p", "nv12", "gray", "gray8"}:
        frame = frame.reformat(format="gray")
    stride = frame.planes[0].line_size
    luma = memoryview(frame.planes[0])
    strip = strip_height(frame.height)
    if frame.width < STRIP_BLOCKS * _SAMPLES_PER_SIDE or frame.height <= strip:
        return None
    steps = [0.25 + 0.5 * step / (_SAMPLES_PER_SIDE - 1) for step in range(_SAMPLES_PER_SIDE)]
    rows = [(frame.height - strip + int(strip * step)) * stride for step in steps]
    word = 0
    for block in range(STRIP_BLOCKS):
        columns = [int((block + step) * frame.width / STRIP_BLOCKS) for step in steps]
        mean = sum(luma[row + column] for row in rows for column in columns) / _SAMPLES_PER_SIDE**2
        if _BIT_ZERO_LUMA < mean < _BIT_ONE_LUMA:
            return None
        word = word << 1 | (mean >= _BIT_ONE_LUMA)
    value = word >> CHECK_BITS & COUNTER_MODULO - 1
    valid = word >> CHECK_BITS + COUNTER_BITS == 0b10 and word & 0xF == _check_bits(value)
    return value if valid else None
