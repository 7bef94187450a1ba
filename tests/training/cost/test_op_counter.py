"""Operations counted by hand, and by `OpCounter`."""

import torch
import torch.nn.functional as F

from t2vgan.training.cost.op_counter import OpCounter


def test_operations_count_once_under_their_names():
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    with OpCounter() as counter:
        (a @ b).add_(1).relu()
        a + a
    assert counter.ops == {"aten.mm": 1, "aten.add_": 1, "aten.relu": 1, "aten.add": 1}
    assert counter.total == counter.launches == 4


def test_views_and_allocations_do_not_count():
    a = torch.ones(3, 4)
    with OpCounter() as counter:
        a.t().reshape(2, 6)[0].detach().unsqueeze(0).expand(3, -1)
        torch.empty(5), torch.empty_like(a), a.new_empty(2)
    assert counter.ops == {"aten.clone": 1}  # reshaping what is transposed copies
    assert counter.bytes_moved == 2 * a.nbytes


def test_a_matrix_product_has_two_flops_per_multiply_add_and_two_more_backward():
    a = torch.ones(3, 4, requires_grad=True)
    b = torch.ones(4, 5, requires_grad=True)
    with OpCounter() as counter:
        product = a @ b
    assert counter.flops == 2 * 3 * 4 * 5
    assert counter.bytes_moved == 4 * (3 * 4 + 4 * 5 + 3 * 5)
    with OpCounter() as counter:
        product.backward(torch.ones(3, 5))
    assert counter.ops["aten.mm"] == 2
    assert counter.flops == 2 * 2 * 3 * 4 * 5


def test_a_convolution_launches_several_kernels():
    maps = torch.ones(2, 3, 8, 8)
    weight = torch.ones(4, 3, 3, 3, requires_grad=True)
    with OpCounter() as counter:
        F.conv2d(maps, weight, padding=1).sum().backward()
    assert counter.ops["aten.convolution"] == counter.ops["aten.convolution_backward"] == 1
    assert counter.launches == counter.total + 1 + 2
    assert counter.flops == 2 * 2 * (2 * 4 * 8 * 8 * 3 * 3 * 3)  # forward, and the weight's


def test_meta_tensors_count_as_real_ones():
    counts = []
    for device in ("cpu", "meta"):
        a = torch.ones(3, 4, device=device, requires_grad=True)
        with OpCounter() as counter:
            F.silu(F.linear(a, a)).square().mean().backward()
        counts.append((counter.ops, counter.flops, counter.bytes_moved))
    assert counts[0] == counts[1]
    assert counts[0][0].total() > 5
