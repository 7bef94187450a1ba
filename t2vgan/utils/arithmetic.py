"""Fix how GPUs compute: the same bits each time."""


def set_arithmetic() -> None:
    """Have CUDA compute deterministically, and float32 in float32.

    Convolutions take algorithms without atomic additions, whose order differs from run to run. TF32
    is off: it keeps 10 bits of each factor, and what is in float32 here, the heads, positions, and
    R1 and R2 with their second derivatives, is so on purpose; bfloat16 is the type for speed. On a
    CPU nothing changes.
    """
    import torch  # here: most of utils is for commands that do without

    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False  # else timing would choose the algorithm
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
