"""Train a GAN: `accelerate launch train.py PRESET`, or `python train.py PRESET`."""

from t2vgan.commands.train import main

if __name__ == "__main__":
    main()
