"""Turn prompts into videos: `python generate.py --prompt "circle moving up-right"`."""

from t2vgan.commands.generate import main
from t2vgan.utils import cli

if __name__ == "__main__":
    cli.run(main)
