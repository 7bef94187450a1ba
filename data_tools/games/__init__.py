"""Record clips of a player in a game's levels.

ViZDoom is imported here only.
"""
