"""onnxruntime's session on the CPU."""

from typing import TYPE_CHECKING

from runtime.extras import extra

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_FATAL = 4  # what is less comes as an exception, too


def open_session(content: bytes, threads: int = 0) -> "InferenceSession":
    """The session of an ONNX file's content. ``threads`` 0: all cores.

    Raises InputError if onnxruntime is not installed, and onnxruntime's own exceptions for what it can't run.
    """
    onnxruntime = extra("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
