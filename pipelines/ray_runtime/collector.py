"""Python's garbage collector, told to look less often.

A process that imports torch, diffusers and Ray makes half a million objects before it does
anything, and all of them stay. At its usual settings Python looks through them again and again, and
once more when the process ends: a fifth of the time of a start, a second of an end.
"""

import atexit
import gc

_NEW_OBJECTS = 5000  # a start hardly gets faster with more


def collect_rarely() -> None:
    """Let this process collect garbage once 5,000 objects are new, by default 700, and not look
    through what is left when it ends.
    """
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)
