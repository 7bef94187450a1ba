"""Train: `accelerate launch train.py PRESET [--section.field value ...]`, or `python train.py`."""

from t2vgan.commands.train import main

if __name__ == "__main__":
    main()
