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
    "A": "0e11111f111111",
    "B": "1e11111e11111e",
    "C": "0e11101010110e",
    "D": "1c12111111121c",
    "E": "1f10101e10101f",
    "F": "1f10101e101010",
    "G": "0e11101711110f",
    "H": "1111111f111111",
    "I": "0e04040404040e",
    "J": "0702020202120c",
    "K": "11121418141211",
    "L": "1010101010101f",
    "M": "111b1515111111",
    "N": "11111915131111",
    "O": "0e11111111110e",
    "P": "1e11111e101010",
    "Q": "0e11111115120d",
    "R": "1e11111e141211",
    "S": "0f10100e01011e",
    "T": "1f040404040404",
    "U": "1111111111110e",
    "V": "11111111110a04",
    "W": "1111111515150a",
    "X": "11110a040a1111",
    "Y": "1111110a040404",
    "Z": "1f01020408101f",
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
    for i, character in enumerate(text):
        left = i * (GLYPH_WIDTH + 1)
        mask[:, left : left + GLYPH_WIDTH] = GLYPHS.get(character, GLYPHS[" "])
    return mask
