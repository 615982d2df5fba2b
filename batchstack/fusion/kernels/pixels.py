"""Compiled inner loops between stored pixels and planes.

The rules are those of `compiled`.
"""

from batchstack.compiled import Pixels, routine


@routine
def apart(stored: Pixels, lines: Pixels, first: int) -> None:
    """The channels of a row of pixels, each in a line of its own from `first` on."""
    channels = lines.shape[0]
    columns = stored.size // channels
    if channels == 3:
        # Whole pixels at once are vectorised only if the number of channels is known.
        red, green, blue = lines[0, first:], lines[1, first:], lines[2, first:]
        for j in range(columns):
            red[j] = stored[3 * j]
            green[j] = stored[3 * j + 1]
            blue[j] = stored[3 * j + 2]
    else:
        for channel in range(channels):
            line = lines[channel, first:]
            for j in range(columns):
                line[j] = stored[channels * j + channel]


@routine
def together(lines: Pixels, stored: Pixels) -> None:
    """The reverse of `apart`; the lines may be longer."""
    channels = lines.shape[0]
    columns = stored.size // channels
    if channels == 3:
        red, green, blue = lines[0], lines[1], lines[2]
        for j in range(columns):
            stored[3 * j] = red[j]
            stored[3 * j + 1] = green[j]
            stored[3 * j + 2] = blue[j]
    else:
        for channel in range(channels):
            line = lines[channel]
            for j in range(columns):
                stored[channels * j + channel] = line[j]
