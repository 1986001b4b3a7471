"""A 5x7 pixel font, so that images need no image library.

Each glyph is seven rows of five pixels, one byte a row, the leftmost pixel in bit 4.
"""

import numpy as np
from numpy.typing import NDArray

GLYPH_HEIGHT, GLYPH_WIDTH = 7, 5

_GLYPHS = {
    " ": "00000000000000",
    "0": "0e11131519110e",
    "1": "040c040404040e",
    "2": "0e11010204081f",
    "3": "1f02040201110e",
    "4": "02060a121f0202",
    "5": "1f101e0101110e",
    "6": "0608101e11110e",
    "7": "1f010204080808",
    "8": "0e11110e11110e",
    "9": "0e11110f01020c",
    "a": "00000e010f110f",
    "b": "1010161911111e",
    "c": "00000e1010110e",
    "d": "01010d1311110f",
    "e": "00000e111f100e",
    "f": "0609081c080808",
    "g": "000f11110f010e",
    "h": "10101619111111",
    "i": "04000c0404040e",
    "j": "0200060202120c",
    "k": "10101214181412",
    "l": "0c04040404040e",
    "m": "00001a15151111",
    "n": "00001619111111",
    "o": "00000e1111110e",
    "p": "00001e111e1010",
    "q": "00000d130f0101",
    "r": "00001619101010",
    "s": "00000e100e011e",
    "t": "08081c08080906",
    "u": "0000111111130d",
    "v": "00001111110a04",
    "w": "0000111115150a",
    "x": "0000110a040a11",
    "y": "000011110f010e",
    "z": "00001f0204081f",
    ".": "00000000000c0c",
    ",": "000000000c0408",
    ":": "000c0c000c0c00",
    "-": "0000001f000000",
    "+": "0004041f040400",
    "*": "0004150e150400",
    "/": "00010204081000",
    "=": "00001f001f0000",
    "(": "02040808080402",
    ")": "08040202020408",
}
GLYPHS = {
    character: np.unpackbits(np.frombuffer(bytes.fromhex(rows), np.uint8)[:, None], axis=1)[:, 3:].astype(np.bool_)
    for character, rows in _GLYPHS.items()
}


def text_mask(text: str) -> NDArray[np.bool_]:
    """The pixels of a line of text, (7, 6 * len(text)); a space stands for characters that the font lacks."""
    mask = np.zeros((GLYPH_HEIGHT, (GLYPH_WIDTH + 1) * len(text)), dtype=np.bool_)
    for i, character in enumerate(text.lower()):
        left = i * (GLYPH_WIDTH + 1)
        mask[:, left : left + GLYPH_WIDTH] = GLYPHS.get(character, GLYPHS[" "])
    return mask
