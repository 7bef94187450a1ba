"""Record clips of a player in the levels of a game.

Only this package imports ViZDoom.
"""
