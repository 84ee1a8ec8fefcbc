"""What a call does to the units that go through it, by the call's name.

Names are without underscores, so that a function, a method and its in-place form are one.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AFFINE = _words("""
    add radd iadd sub rsub isub mul rmul imul multiply div rdiv idiv truediv rtruediv itruediv
    divide neg negative positive to type type_as float half bfloat16 double contiguous clone detach
    identity dropout dropout1d dropout2d alpha_dropout feature_dropout feature_alpha_dropout
""")
CURVED = _words("""
    relu relu6 gelu silu tanh sigmoid hardtanh hardswish hardsigmoid leaky_relu elu selu celu
    softplus softsign mish logsigmoid log_sigmoid prelu threshold hardshrink softshrink tanhshrink
    abs absolute exp expm1 log log1p sqrt rsqrt reciprocal square pow rpow ipow clamp clamp_min
    clamp_max clip maximum minimum erf erfc sin cos atan sign heaviside floor round where gt lt ge
    le eq ne isnan isfinite isinf masked_fill nan_to_num sinc
""")
CARRY = _words("""
    batch_norm group_norm layer_norm instance_norm rms_norm max_pool1d max_pool2d avg_pool1d
    avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d
    max_pool2d_with_indices pad
""")
ROWS = _words("view reshape flatten unflatten unsqueeze squeeze")
PARTS = _words("chunk split narrow getitem tensor_split unsafe_chunk unsafe_split")
READ = _words("""
    linear conv1d conv2d conv3d matmul mm bmm addmm baddbmm einsum cat concat concatenate stack
    transpose permute movedim mean sum amax swapaxes t mT expand repeat index_select
    scaled_dot_product_attention interpolate
""")
LAYERS = _words("linear conv1d conv2d conv3d addmm")
FOREIGN_IS_FINE = CARRY | {"to", "type_as"}  # a normalization's statistics, a type to take over

# pieces of straight lines: equal outputs of different inputs are equal exactly, not by rounding
STRAIGHT = frozenset(
    {"relu", "relu6", "leaky_relu", "hardtanh", "abs", "clamp", "clamp_min", "prelu", "threshold"}
)
