from .coefficients import ddim, flow_euler, solver_for
from .saved_fields import (
    DIFFUSION_SCHEDULERS,
    FLOW_SCHEDULERS,
    SCHEDULER_FIELDS,
    SavedFields,
    check_scheduler,
)
from .solver import Solver, advance

__all__ = [
    "DIFFUSION_SCHEDULERS",
    "FLOW_SCHEDULERS",
    "SCHEDULER_FIELDS",
    "SavedFields",
    "Solver",
    "advance",
    "check_scheduler",
    "ddim",
    "flow_euler",
    "solver_for",
]
