"""An operation is submitted, claimed, moved along and ended here; nowhere else."""

from operations.services.attempts import (
    operation_claim,
    operation_go_through,
    operation_postpone,
    operation_progress,
    operation_renew,
)
from operations.services.ending import Failure, operation_fail, operation_finish
from operations.services.lanes import lane_close, lane_open
from operations.services.steer import operation_cancel, operation_retry
from operations.services.submit import Hold, operation_hold, operation_submit
from operations.services.sweep import operations_expire
from operations.services.turns import operations_next

__all__ = [
    "Failure",
    "Hold",
    "lane_close",
    "lane_open",
    "operation_cancel",
    "operation_claim",
    "operation_fail",
    "operation_finish",
    "operation_go_through",
    "operation_hold",
    "operation_postpone",
    "operation_progress",
    "operation_renew",
    "operation_retry",
    "operation_submit",
    "operations_expire",
    "operations_next",
]
