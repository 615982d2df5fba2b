"""Units: pixels of any type as code values, the unit that everything is computed in."""

CODE_MAX = 255.0  # frames are computed in units of 8-bit code values
DATA_RANGES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
