"""Branches of a block: linear operators that commute with rotations about the axis.

May import `sphere_ops.engine` and what that imports.

A new branch is a file here with a subclass of `Branch`, and an entry in `block.BRANCHES`:

- Its constructor takes `(in_channels, out_channels, grid, *, <settings>, grid_out, device, dtype)`
  and passes to `Branch.__init__` the number `lmax` of degrees with matrices, a `Filter`, or both.
- `degree_matrices()` returns a matrix of channels per degree, (lmax, c, o); a function of degree
  alone commutes with all rotations. `filter_weights(dtype)` returns weights of the filters,
  (o, c, k). Both are differentiable functions of its parameters.
- A `Filter` is a frozen dataclass of the settings that identify the filters; its `sample` returns
  their weights on the rows near each output row (`sphere_ops.kernels.filters`).
- `reset_parameters()` draws weights with which the output has about the variance of the input. The
  output is linear in every parameter: a block of n branches divides all parameters by √n.
- `changes_grid = False` refuses another output grid.

The transforms, the exchange between ranks, the backward pass, precision and `torch.compile` need no
further code. To configure the branch, add a section with its settings to `configs/model.py` and a
field of its name to `BranchesConfig`. The settings are passed to the constructor by name.
"""
