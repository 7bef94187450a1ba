"""Train a probe on one half of the real clips."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from t2vgan.evaluation.probe.network import ProbeNetwork
from t2vgan.evaluation.probe.probe import CaptionHead, ProbeSettings
from t2vgan.evaluation.probe.targets import Targets
from t2vgan.pipeline import one_worker_per_thread
from t2vgan.tokenizer import Vocabulary
from t2vgan.utils.seeds import permutation
from t2vgan.video import to_video

LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.02
BATCH_SIZE, CLIPS_PER_WORKER = 32, 16
NUM_CAPTIONS = 64  # candidates in training, among them the right ones
WARMUP_STEPS, DECAY_STEPS = 50, 200
NUM_EPOCHS, MIN_STEPS = 10, 400
LOW_LOSS, LOSS_MEMORY = 0.05, 0.97  # the decay begins when the running mean loss is below LOW_LOSS


ShouldStop = Callable[[], bool]


class ProbeStoppedError(Exception):
    """The training of a probe was asked to stop."""


def never() -> bool:
    """Return False: never stop."""
    return False


@dataclass(frozen=True)
class ProbeTrainer:
    """Train a network and a head to name clips.

    A batch is split into parts of fixed size, which threads process, and whose gradients are added
    in order, so that the result does not depend on the number of threads.
    """

    network: ProbeNetwork
    head: nn.Module
    frames: Tensor  # (N, T, 32, 32, 3) uint8
    indices: np.ndarray  # (N,) index of each clip's name in `targets.names`
    targets: Targets
    vocabulary: Vocabulary
    settings: ProbeSettings
    device: torch.device
    should_stop: ShouldStop = never

    def train(self, clips: np.ndarray) -> int:
        """Train on clips (K,); return the number of steps.

        Raises:
            ProbeStoppedError: `should_stop` returned true between two batches.
        """
        parameters = [*self.network.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        most = max(MIN_STEPS, NUM_EPOCHS * len(clips) // BATCH_SIZE)
        last = min(most, self.settings.num_steps)
        running, step = math.nan, 0
        batches = self._batches(clips)
        with (
            one_worker_per_thread(self.device) as workers,
            tqdm(total=last, desc="train probe", unit="step") as progress,
        ):
            while step < last:
                if self.should_stop():
                    raise ProbeStoppedError
                for group in optimizer.param_groups:
                    group["lr"] = LEARNING_RATE * learning_rate_factor(step, last)
                parts = torch.from_numpy(next(batches)).split(CLIPS_PER_WORKER)
                candidates = self._candidates(torch.cat(parts), step)
                results = workers.map(
                    lambda part, names=candidates: self._gradients(part, names, parameters), parts
                )
                loss = 0.0
                optimizer.zero_grad()
                for part_loss, gradients in results:
                    loss += part_loss / len(parts)
                    for parameter, gradient in zip(parameters, gradients, strict=True):
                        share = gradient / len(parts)
                        parameter.grad = share if parameter.grad is None else parameter.grad + share
                optimizer.step()
                running = loss if step == 0 else LOSS_MEMORY * running + (1 - LOSS_MEMORY) * loss
                step += 1
                if running < LOW_LOSS:
                    last = min(last, max(step, WARMUP_STEPS) + DECAY_STEPS)
                progress.total = last
                progress.set_postfix(loss=f"{running:.3f}", refresh=False)
                progress.update()
        return step

    def _gradients(
        self, clips: Tensor, names: Tensor, parameters: list[nn.Parameter]
    ) -> tuple[float, tuple[Tensor, ...]]:
        """Return the loss of a part of a batch, and its gradients."""
        features = self.network(to_video(self.frames[clips].to(self.device)))
        wanted = torch.from_numpy(self.indices)[clips]
        if isinstance(self.head, CaptionHead):
            wanted = torch.searchsorted(names, wanted)
            texts = [self.targets.names[name] for name in names.tolist()]
            encoded = self.vocabulary.encode(texts, allow_unknown=True)
            tokens = [torch.from_numpy(array).to(self.device) for array in encoded]
            logits = self.head(features, *tokens)
        else:
            logits = self.head(features)
        loss = F.cross_entropy(logits, wanted.to(self.device))
        return loss.item(), torch.autograd.grad(loss, parameters)

    def _candidates(self, clips: Tensor, step: int) -> Tensor:
        """Return the sorted name indices of a batch, with others added."""
        own = np.unique(self.indices[clips.numpy()])
        num_others = max(0, min(NUM_CAPTIONS, len(self.targets.names)) - len(own))
        order = permutation(len(self.targets.names), self.settings.seed, "probe captions", step)
        others = order[~np.isin(order, own)][:num_others]
        return torch.from_numpy(np.sort(np.concatenate([own, others])))

    def _batches(self, clips: np.ndarray) -> Iterator[np.ndarray]:
        """Yield batches of indices endlessly, in a new order for each epoch."""
        left, epoch = np.zeros(0, np.int64), 0
        while True:
            while len(left) < BATCH_SIZE:
                order = permutation(len(clips), self.settings.seed, "probe batches", epoch)
                left, epoch = np.concatenate([left, clips[order]]), epoch + 1
            batch, left = left[:BATCH_SIZE], left[BATCH_SIZE:]
            yield batch


def learning_rate_factor(step: int, num_steps: int) -> float:
    """Return the factor on the learning rate: warm-up, constant, decay."""
    decay = min(DECAY_STEPS, max(1, num_steps // 2))
    return min(1.0, (step + 1) / WARMUP_STEPS, (num_steps - step) / decay)
