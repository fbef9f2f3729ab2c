"""List the names that a candidate may use.  With these names, a candidate cannot read an array's values, a clock or a
file.  Nor can it choose a stream or reach Python internals."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATIONS = _names(
    """
    abs add addmm all any arange argmax argmin as_strided broadcast_arrays broadcast_to ceil clip concatenate
    contiguous cos cosh cummax cummin cumprod cumsum diag diagonal divide einsum equal erf erfinv exp expand_dims expm1
    eye flatten floor floor_divide full full_like gather_mm greater greater_equal identity inner isfinite isinf isnan
    less less_equal linspace log log10 log1p log2 logaddexp logical_and logical_not logical_or logsumexp matmul max
    maximum mean min minimum moveaxis multiply negative not_equal ones ones_like outer pad permute_dims power prod
    put_along_axis reciprocal remainder repeat reshape roll round rsqrt sigmoid sign sin sinh softmax sort split sqrt
    square squeeze stack std stop_gradient subtract sum swapaxes take take_along_axis tan tanh tensordot tile transpose
    tri tril triu unflatten var where zeros zeros_like
    """
)
"""Functions of ``mx`` that only compute."""
FAST = _names("cross_entropy layer_norm rms_norm rope scaled_dot_product_attention")
"""Functions of ``mx.fast`` that only compute."""
NUMBER_TYPES = _names(
    "bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 inf pi e newaxis array"
)
"""Number types and constants of ``mx``, and ``mx.array`` for annotations."""
OF_AN_ARRAY = _names(
    """
    shape dtype ndim size T abs all any append argmax argmin astype cos cumsum exp flatten log log1p logsumexp max mean
    min moveaxis prod reciprocal reshape round rsqrt sin split sqrt square squeeze std sum swapaxes transpose var
    """
)
"""Attributes and methods of an array, and ``append`` of a list."""
MATH = _names("ceil e exp floor inf log log2 pi sqrt tanh")
BUILT_IN = _names("abs bool enumerate float int len list max min range reversed round sum tuple zip")
KEYWORDS_REFUSED = frozenset({"stream", "s"})
"""Names of arguments that a candidate may not use, because they choose another stream or device."""
LONGEST_RANGE = 1_000_000
"""Largest number of rounds in a loop whose bound is written as a number."""
