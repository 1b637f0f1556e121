"""What the kernel knows that Python's socket module does not: UDP_SEGMENT, and how a send can be refused."""

from __future__ import annotations

import errno
from typing import Final

UDP_SEGMENT: Final = 103
"""linux/udp.h: cut one send into datagrams of a given size (GSO)."""
SEGMENTATION_REFUSED: Final = frozenset({errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE})
"""What a send with UDP_SEGMENT fails with where the interface or the system cannot."""
NO_ROOM: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})
"""What a send fails with while the socket's or the interface's queue is full."""
