"""Score generated videos: `python evaluate.py --weights RUN_DIR --data DIR`.

It is the same command as `python -m t2vgan.evaluation`.
"""

from t2vgan.evaluation.__main__ import main
from t2vgan.utils import cli

if __name__ == "__main__":
    cli.run(main)
