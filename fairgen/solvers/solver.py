"""Denoising steps with a time step per row: a solver is a table of coefficients.

Every solver here is linear in what it sees. At step i, with the state x, the model's prediction p,
the clean picture x_0' predicted at the step before, and fresh noise n,

    x_0  = u_i x + w_i p
    x   <- a_i x + b_i x_0 + c_i x_0' + e_i x_0'' + d_i n

where x_0'' is the clean picture of the step before that one, so rows at different steps, or with
different numbers of steps, or that follow different solvers, all move by one line.
"""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Solver:
    """The S steps of a trajectory: their time steps and coefficients u w a b c e d, S x 7.

    The first state is noise times `start`. `levels`, S x 2, are the shares of picture and of noise
    in the state that a step begins with.
    """

    timesteps: Tensor
    table: Tensor
    levels: Tensor
    start: float = 1.0

    @property
    def num_steps(self) -> int:
        return len(self.timesteps)

    def since(self, first_step: int) -> "Solver":
        """Return the steps from one on: before it there was none, so it is of first order.

        Raises ValueError for steps that look back further.
        """
        if bool(self.table[first_step:, 5].any()):
            raise ValueError("scheduler: got one of three steps, allowed are those of one or two")
        table = self.table[first_step:].clone()
        table[:1, 3] += table[:1, 4]
        table[:1, 4] = 0
        return replace(
            self,
            timesteps=self.timesteps[first_step:],
            table=table,
            levels=self.levels[first_step:],
        )

    def noised(self, picture: Tensor, noise: Tensor, step_index: int) -> Tensor:
        """Return the state that a step would begin with, were this the clean picture; after the
        last step that is the picture itself.
        """
        if step_index == self.num_steps:
            return picture
        signal, level = self.levels[step_index].tolist()
        return signal * picture + level * noise

    def draws_noise(self, step_index: int) -> bool:
        """Return whether a step adds fresh noise."""
        return bool(self.table[step_index, -1])

    def step(
        self,
        prediction: Tensor,
        x: Tensor,
        pred_x0: Tensor,
        step_index_N: Tensor,
        older_x0: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return each row one step less noisy, and the clean picture that is predicted now.

        Raises ValueError for a step that adds noise: `advance` takes it.
        """
        table_N7 = self.table[step_index_N.cpu()]
        if bool(table_N7[:, -1].any()):
            raise ValueError("scheduler: got one that adds noise, allowed are those that add none")
        assert older_x0 is not None or not bool(table_N7[:, 5].any())
        return advance(table_N7, prediction, x, pred_x0, older_x0=older_x0)


def advance(
    table_N7: Tensor,
    prediction: Tensor,
    x: Tensor,
    pred_x0: Tensor,
    noise: Tensor | None = None,
    older_x0: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return next states and predicted clean pictures of rows, each with its own coefficients.

    `pred_x0` is what the step before returned, `older_x0` what the one before that did; at a row's
    first steps they do not count. `noise` None is for rows that add none, `older_x0` None for those
    that look back one step at most.
    """
    columns = table_N7.to(x.device, x.dtype).T.reshape(7, -1, *(1,) * (x.ndim - 1))
    u, w, a, b, c, e, d = columns
    x_0 = u * x + w * prediction
    state = a * x + b * x_0 + c * pred_x0
    if older_x0 is not None:
        state = state + e * older_x0
    return state if noise is None else state + d * noise, x_0
