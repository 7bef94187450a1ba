"""TODO."""

from pydantic import BaseModel


class TrainState(BaseModel):
    """What a checkpoint holds besides tensors; everything else derives from the step."""

    data_fingerprint: str
    step: int = 0
    clips_seen: int = 0
    seconds: float = 0.0
    """Training time; sampling, evaluating and saving excluded."""
    safety_seconds: float = 0.0
    """Time that training stood still for saves, comparisons of ranks and asking whether to stop."""
    writing_seconds: float = 0.0
    """Processor time that the writing of checkpoints took beside training."""
    bad_clips: dict[str, int] = {}
    """Clips that could not be used, over all ranks, by reason."""
    bad_steps: dict[str, int] = {}
    """Updates that were not applied, by network; float16's overflows not counted."""
    bad_steps_in_a_row: int = 0
    rollbacks: int = 0
    """How often --rollback chose another order of the data."""
    best_accuracy: float = -1.0
    best_step: int = -1
    loss_scales: dict[str, dict[str, int | float]] = {}
    """Of each network, in float16; empty otherwise."""
    unread_notes: dict[str, list[list[float]]] = {}
    """Each rank's sums for the next line of metrics."""
