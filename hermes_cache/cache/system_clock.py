"""The clock of the machine."""

import time


class SystemClock:
    """`ports.Clock` on the operating system's clocks."""

    monotonic_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)
