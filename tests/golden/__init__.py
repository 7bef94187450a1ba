"""Hold the project to the bits of an earlier day: what commands made then, they must make now.

`record` writes the goldens, `test_golden` compares. Nothing here imports the project: only its
commands are run, and what they leave is read with third-party libraries. So these tests survive
when modules move and classes are renamed.
"""
