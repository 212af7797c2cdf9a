"""Every party that is stood in for, in one room; each does the emulated party's real work.

Only `bench.platforms` may import from here, so nothing emulated can slip into a run on hardware.
What an emulator signs chains to a root that names itself emulated.
"""
