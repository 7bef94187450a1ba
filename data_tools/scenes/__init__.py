"""Rendered scenes: clips as functions of scene, seed, index and geometry.

A scene is a module with `VERSION` (raised whenever a pixel changes), `PROMPTS` (empty if there are
too many to list), `HELD_OUT_PROMPTS`, which no clip of a data set shows, `render_clips`, and `FPS`
if it is not 10. Clips of `actions` are recorded from a game engine, under the same rule.
"""
