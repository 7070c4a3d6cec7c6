"""The face crop: where the eyes and the mouth of an aligned face stand. Shared by the rendered set and by alignment.

Positions are fractions of the crop's side, (x, y) from the top left corner, of a neutral face.
"""

CROP_SIZE = 128
# Fractions of the side; at 128 pixels: eyes at y 52.5, 41 pixels apart; mouth at y 97.
EYES_Y = 0.410
EYE_DISTANCE = 0.325
MOUTH_Y = 0.755
