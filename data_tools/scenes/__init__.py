"""Rendered scenes: each clip a pure function of (scene, seed, index, geometry).

A scene is a module with `VERSION` (raised whenever a pixel changes), `PROMPTS` (empty where they
are too many to list), `HELD_OUT_PROMPTS`, which no clip of a data set shows, and `render_clips`;
`FPS` where it is not 10. Clips of `actions` are recorded from a game engine, by the same rule.
"""
