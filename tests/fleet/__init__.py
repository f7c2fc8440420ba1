# SPDX-License-Identifier: Apache-2.0
"""Many agents at once: hawser_fleet (C++) has them in one process, and this package makes them lose their plane.

    process.py    hawser_fleet in a host      scenes.py     join, replacement, outage: what happened
    main.cpp …    the program                 simulation.h  the same on a fake clock
"""
