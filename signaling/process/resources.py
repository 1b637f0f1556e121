"""What the system allows this process."""

from __future__ import annotations

from signaling.logs import EventLog

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]  # the stub knows the module only

log = EventLog("signaling.resources")


def raise_file_limit() -> int | None:
    """Raise the soft limit of open files to the hard one; return what is granted, None where there is no limit.

    Every client is a file. The usual soft limit of 1024 is there for programs that use `select`, which we do not.
    """
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # macOS: the hard one is "infinity", the real one is the kernel's
            log.info("file_limit_not_raised", soft=soft, hard=hard, problem=error)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    log.info("file_limit", granted=soft)
    return None if soft == resource.RLIM_INFINITY else soft


def file_limits() -> tuple[int | None, int | None] | None:
    """Return the soft and hard limit of open files, each None where it is infinite; None where there are none."""
    if resource is None:
        return None
    soft, hard = (
        None if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, hard
