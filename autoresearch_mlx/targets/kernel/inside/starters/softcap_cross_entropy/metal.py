"""A Metal candidate for softcap_cross_entropy: 32 threads work on each row, in one pass, and write its loss."""

THREADS = 32
METAL = """
    uint row = threadgroup_position_in_grid.x;
    uint lane = thread_position_in_threadgroup.x;
    uint columns = logits_shape[1];
    float largest = -INFINITY;
    float total = 0.0f;
    for (uint c = lane; c < columns; c += 32) {
        float value = cap * metal::precise::tanh(float(logits[row * columns + c]) / cap);
        float top = max(largest, value);
        total = total * metal::exp(largest - top) + metal::exp(value - top);
        largest = top;
    }
    float top = simd_max(largest);
    total = simd_sum(total * metal::exp(largest - top));
    if (lane == 0) {
        float chosen = cap * metal::precise::tanh(float(logits[row * columns + targets[row]]) / cap);
        out[row] = metal::log(total) + top - chosen;
    }
"""


def launch(shapes: dict[str, tuple[int, ...]]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    rows = shapes["logits"][0]
    return (rows * THREADS, 1, 1), (THREADS, 1, 1)
