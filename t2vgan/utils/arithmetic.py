"""Make GPUs compute deterministically."""


def set_arithmetic() -> None:
    """Make CUDA compute deterministically, and float32 in full precision.

    Convolutions use algorithms without atomic additions, whose order differs between runs. TF32 is
    off, because it keeps only 10 bits of each factor: the heads, the positions, and R1 and R2 with
    their second derivatives are in float32 on purpose, and bfloat16 is the type for speed. On a CPU
    nothing changes.
    """
    import torch  # here, because most users of utils do not need it

    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False  # otherwise timings choose the algorithm
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
