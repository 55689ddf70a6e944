from .coefficients import ddim, first_order, flow_euler, solver_for
from .saved_fields import (
    DIFFUSION_SCHEDULERS,
    FLOW_SCHEDULERS,
    OTHER_FLOW_SCHEDULERS,
    SCHEDULER_FIELDS,
    TRIGFLOW_SCHEDULERS,
    SavedFields,
    check_scheduler,
)
from .solver import Solver, advance

__all__ = [
    "DIFFUSION_SCHEDULERS",
    "FLOW_SCHEDULERS",
    "OTHER_FLOW_SCHEDULERS",
    "SCHEDULER_FIELDS",
    "TRIGFLOW_SCHEDULERS",
    "SavedFields",
    "Solver",
    "advance",
    "check_scheduler",
    "ddim",
    "first_order",
    "flow_euler",
    "solver_for",
]
