"""Ask this machine's libraries for many small results and print the SHA-256 of all their bits.

Where it is the golden's, training must give the golden's bits too; elsewhere another processor or
library rounds otherwise, and only nearness can be asked for. `commands.python` runs it, so that the
libraries are held as they are for the runs.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F


def draw(*shape: int, key: int) -> torch.Tensor:
    generator = np.random.Generator(np.random.Philox(key=key))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def elementwise() -> Iterator[torch.Tensor]:
    """Yield functions of single numbers that the networks and losses use, draws and sums."""
    x = draw(5, 77, key=1)
    functions = (torch.exp, torch.sin, torch.cos, torch.tanh, torch.sigmoid, F.silu, F.softplus)
    yield from (function(x) for function in functions)
    yield from (x.square().sqrt(), x.abs().log(), F.leaky_relu(x, 0.2), x.abs().rsqrt())
    yield torch.randn((8, 7), generator=torch.Generator().manual_seed(6))
    yield from (x.sum(), x.mean(1), x.std(0), F.rms_norm(x, (77,)), x.softmax(1))


def convolutions() -> Iterator[torch.Tensor]:
    """Yield convolutions both ways in both layouts, and the gradients of their gradients."""
    layouts = (torch.contiguous_format, torch.channels_last)
    sizes = ((3, 4, 3, 1), (4, 16, 1, 0), (16, 64, 3, 1), (64, 32, 4, 1))
    for key, (inside, outside, side, padding) in enumerate(sizes, 10):
        for layout in layouts:
            x = draw(4, inside, 12, 12, key=key).contiguous(memory_format=layout)
            weight = draw(outside, inside, side, side, key=key + 50).requires_grad_()
            y = F.silu(F.conv2d(x.requires_grad_(), weight, stride=1, padding=padding))
            (gradient,) = torch.autograd.grad(y.square().mean(), x, create_graph=True)
            gradient.square().sum().backward()
            yield from (y, x.grad, weight.grad)
    x, weight = draw(4, 24, 8, 8, key=30), draw(24, 8, 4, 4, key=31).requires_grad_()
    y = F.conv_transpose2d(x, weight, stride=2, padding=1)
    y.square().mean().backward()
    yield from (y, weight.grad)


def others() -> Iterator[torch.Tensor]:
    """Yield products, attention, sampling, interpolation and steps of Adam."""
    for key, (m, k, n) in enumerate(((8, 16, 16), (24, 72, 40), (16, 600, 300)), 40):
        weight = draw(n, k, key=key + 5).requires_grad_()
        y = F.linear(draw(m, k, key=key), weight)
        y.square().mean().backward()
        yield from (y, weight.grad)
    q = draw(8, 2, 6, 8, key=60)
    yield F.scaled_dot_product_attention(q, q, q)
    grid = draw(6, 9, 9, 2, key=61)
    yield F.grid_sample(draw(6, 4, 9, 9, key=62), grid.tanh(), align_corners=False)
    yield F.interpolate(draw(2, 4, 9, 9, key=63), scale_factor=2.0, mode="bilinear")
    yield F.batch_norm(draw(4, 8, 6, 6, key=64), None, None, training=True)
    parameter = draw(9, 33, key=65).requires_grad_()
    adam = torch.optim.Adam([parameter], 2e-3, betas=(0.0, 0.9), fused=True)
    for key in range(70, 74):
        parameter.grad = draw(9, 33, key=key)
        adam.step()
    yield parameter


def main() -> None:
    torch.set_num_threads(1)
    digest = hashlib.sha256()
    for results in (elementwise(), convolutions(), others()):
        for result in results:
            digest.update(result.detach().contiguous().numpy().tobytes())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
