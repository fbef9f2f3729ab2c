"""List error texts for which the machine or the tool may be to blame, and not the program that prints the text.

Each text comes from a public report, or from the source code that prints it.  The list has no errors that a program
causes itself, such as an illegal memory access of a GPU kernel or a shape that does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Cause: TypeAlias = Literal["machine", "tool", "memory", "gpu memory", "disk"]


@dataclass(frozen=True, slots=True)
class KnownError:
    """An error text, and the cause to which it points."""

    pattern: str
    """Regular expression that finds the error text in the last lines of the output."""
    cause: Cause
    """The cause of the error.

    For ``memory``, ``gpu memory`` and ``disk``, the state of the machine decides whether the candidate is to blame.
    """
    words: str = ""
    next_step: str = ""

    @property
    def party(self) -> Literal["machine", "tool"]:
        return "tool" if self.cause == "tool" else "machine"


_GPU_STEP = "let the display sleep and close programs that use the GPU; if the error comes again, restart the machine"
_DRIVER_STEP = "look at nvidia-smi and the system log; restart the machine if the GPU is not listed"
_INSTALL_STEP = "run `autoresearch-mlx doctor`; install MLX again if MLX fails there"

_METAL_ERRORS = (
    ("ImpactingInteractivity", "macOS ended the GPU's work because the display had to wait"),
    ("InnocentVictim", "the GPU was reset because of another program"),
    ("SubmissionsIgnored", "the GPU accepts no more work after earlier errors"),
    ("Timeout", "the GPU's work took longer than macOS allows"),
    ("Hang", "the GPU hung"),
    ("BackgroundExecutionNotPermitted", "macOS refused GPU work in the background"),
    ("AccessRevoked", "macOS took the GPU away"),
)
"""Names of the driver's errors, after ``kIOGPUCommandBufferCallbackError`` (mlx issue 3267 and other reports).

PageFault, StackOverflow and InvalidResource are left out, because the program itself causes them.
"""

KNOWN: tuple[KnownError, ...] = (
    *(
        KnownError(rf"kIOGPUCommandBufferCallbackError{name}\b", "machine", words, _GPU_STEP)
        for name, words in _METAL_ERRORS
    ),
    # The driver's errors by their descriptions, for programs that do not print an error's name.
    KnownError(
        r"Command buffer execution failed: (Impacting Interactivity|Discarded \(victim of GPU error|Innocent Victim|"
        r"Ignored \(for causing prior|Submissions Ignored|Caused GPU Timeout|Caused GPU Hang|Internal Error)",
        "machine", "macOS ended the GPU's work", _GPU_STEP,
    ),
    KnownError(r"Insufficient Memory \(0*8:|kIOGPUCommandBufferCallbackErrorOutOfMemory", "memory"),
    # Before version 0.32, MLX ended with an NSRangeException in a process without a GPU (codex issue 17644).
    KnownError(r"\[metal::load_device\]|No Metal device available|NSRangeException.*empty NSArray|"
               r"MTLCreateSystemDefaultDevice.*(nil|null)",
               "machine", "macOS gives this process no GPU",
               "log in at the screen and start the run in a Terminal there"),
    KnownError(r"MTLCompilerService|XPC_ERROR_CONNECTION_(INTERRUPTED|INVALID)", "machine",
               "Metal's compiler service ended", _GPU_STEP),
    KnownError(r"cl2Metal failed|com\.apple\.metalfe.*Operation not permitted", "tool",
               "the sandbox keeps Metal from compiling", "run `autoresearch-mlx doctor --selftest --only sandbox`"),
    KnownError(r"Unable to load kernel|Failed to load the default metallib|metallib.*not supported on this OS", "tool",
               "MLX's own GPU code does not load", _INSTALL_STEP),
    # CUDA: cudaGetErrorString and the names of cudaError_t.
    KnownError(r"launch timed out and was terminated|cudaErrorLaunchTimeout|CUDA_ERROR_LAUNCH_TIMEOUT", "machine",
               "the GPU's driver ended work that ran too long for its display", _DRIVER_STEP),
    KnownError(r"uncorrectable (ECC|NVLink) error|cudaErrorECCUncorrectable|CUDA_ERROR_ECC_UNCORRECTABLE|"
               r"cudaErrorNvlinkUncorrectable", "machine", "the GPU has a memory error or a link error", _DRIVER_STEP),
    KnownError(r"CUDA-capable device\(s\) is/are busy or unavailable|cudaErrorDevicesUnavailable|"
               r"CUDA_ERROR_DEVICE_UNAVAILABLE", "machine", "another program is using the GPU", _DRIVER_STEP),
    KnownError(r"no CUDA-capable device is detected|cudaErrorNoDevice|CUDA_ERROR_NO_DEVICE|GPU is lost|"
               r"fallen off the bus|Unable to determine the device handle", "machine", "the GPU is gone", _DRIVER_STEP),
    KnownError(r"system (not yet initialized|has unsupported display driver)|cudaErrorSystem(NotReady|DriverMismatch)|"
               r"Driver/library version mismatch|CUDA driver version is insufficient|driver shutting down|"
               r"cudaErrorCudartUnloading", "machine", "the GPU's driver does not work", _DRIVER_STEP),
    KnownError(r"hardware stack error|cudaErrorHardwareStackError|CUDA_ERROR_HARDWARE_STACK_ERROR|"
               r"cudaErrorMps\w+|MPS (client failed to connect|server is not ready)", "machine",
               "the GPU's driver failed", _DRIVER_STEP),
    KnownError(r"(cuda\w*|CUDA|NCCL)[^\n]*out of memory|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY",
               "gpu memory"),
    # The system.
    KnownError(r"No space left on device|Disk quota exceeded|Disc quota exceeded|\[Errno (28|122|69)\]|\bENOSPC\b|"
               r"\bEDQUOT\b", "disk"),
    KnownError(r"\[Errno 5\]|Input/output error", "machine", "the disk cannot be read or written",
               "the disk is failing: before anything else, copy .autoresearch and .git to another disk"),
    KnownError(r"\[Errno (23|116|70)\]|Too many open files in system|Stale (NFS )?file handle", "machine",
               "the system could not open a file", "close other programs; look at the network disk if there is one"),
    KnownError(r"^MemoryError|Cannot allocate memory|std::bad_alloc|\[malloc_or_wait\]|\[Errno 12\]|"
               r"Unable to allocate \d+ bytes", "memory"),
    KnownError(r"No module named '(autoresearch_mlx|mlx|mlx\.core|mlx\.nn|numpy)'", "tool",
               "the installation has changed", "install autoresearch-mlx again in this environment"),
)  # fmt: skip
