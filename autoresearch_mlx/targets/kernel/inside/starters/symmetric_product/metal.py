"""A simple Metal candidate for symmetric_product, without tiles: one thread for each number of the lower half."""

METAL = """
    uint column = thread_position_in_grid.x;
    uint row = thread_position_in_grid.y;
    uint stack = thread_position_in_grid.z;
    uint rows = x_shape[1];
    uint inner = x_shape[2];
    if (row < rows && column <= row) {
        uint a = (stack * rows + row) * inner;
        uint b = (stack * rows + column) * inner;
        float total = 0.0f;
        for (uint i = 0; i < inner; i++) {
            total += float(x[a + i]) * float(x[b + i]);
        }
        out[(stack * rows + row) * rows + column] = T(total);
        out[(stack * rows + column) * rows + row] = T(total);
    }
"""


def launch(shapes: dict[str, tuple[int, ...]]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    stack, rows, _ = shapes["x"]
    return (rows, rows, stack), (8, 8, 1)
