"""Alerts: hear and say goodbye on a DTLS 1.2 connection without the OpenSSL connection that made it.

After the handshake nothing but alerts passes over DTLS in WebRTC without data channels, and of those one matters:
close_notify. OpenSSL keeps 93 kB for each connection to that end, more than all the rest of a viewer. Two keys do: an
alert is one AES-GCM record (RFC 5246 sections 6.3 and 7.2, RFC 5288, RFC 6347 section 4.1).
"""

from __future__ import annotations

import hmac
import secrets
import struct
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ALERT_SEQUENCE_NUMBER: Final = 1 << 16
"""Of the one record that we send: behind all that a handshake with its retransmissions takes, so never used before."""

_CLOSE_NOTIFY: Final = b"\x01\x00"  # level warning, description 0
_FATAL: Final = 2
_ALERT: Final = 21  # ContentType
_DTLS_1_2: Final = 0xFEFD
_EPOCH: Final = 1  # after the one handshake; nobody renegotiates
_HEADER: Final = struct.Struct("!BHHHIH")  # type, version, epoch, 48 bits of sequence number, length
_ADDITIONAL: Final = struct.Struct("!HHIBHH")  # epoch, sequence number, type, version, length of the plaintext
_SALT_BYTES: Final = 4
_NONCE_BYTES: Final = 8
_TAG_BYTES: Final = 16
_CIPHERS: Final = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": (16, "sha256"),
    "ECDHE-RSA-AES128-GCM-SHA256": (16, "sha256"),
    "ECDHE-ECDSA-AES256-GCM-SHA384": (32, "sha384"),
    "ECDHE-RSA-AES256-GCM-SHA384": (32, "sha384"),
}
"""Key bytes and the hash of the pseudo-random function, by OpenSSL's names."""


class Alerts:
    """The keys of one connection. Whether its cipher is one of those that this can do, `supports` tells."""

    __slots__ = ("_read_key", "_read_salt", "_write_key", "_write_salt")

    def __init__(
        self,
        cipher: str,
        master_secret: bytes,
        client_random: bytes,
        server_random: bytes,
        role: Literal["client", "server"],
    ) -> None:
        size, name = _CIPHERS[cipher]
        block = _expand(name, master_secret, b"key expansion" + server_random + client_random, 2 * (size + _SALT_BYTES))
        keys = block[:size], block[size : 2 * size]
        salts = block[2 * size : 2 * size + _SALT_BYTES], block[2 * size + _SALT_BYTES :]
        ours = 0 if role == "client" else 1
        self._write_key, self._read_key = keys[ours], keys[1 - ours]
        self._write_salt, self._read_salt = salts[ours], salts[1 - ours]

    @staticmethod
    def supports(version: str, cipher: str | None) -> bool:
        """Tell whether a connection of this protocol version and cipher, by OpenSSL's names, can be taken over."""
        return version == "DTLSv1.2" and cipher in _CIPHERS

    def ends(self, datagram: bytes) -> bool:
        """Tell whether a datagram holds an authentic alert that ends the connection: close_notify, or a fatal one."""
        position = 0
        while len(datagram) - position >= _HEADER.size:
            kind, version, epoch, high, low, length = _HEADER.unpack_from(datagram, position)
            position += _HEADER.size
            record = datagram[position : position + length]
            position += length
            if (kind, version, epoch) != (_ALERT, _DTLS_1_2, _EPOCH) or len(record) != length:
                continue  # a late retransmission of the handshake, say
            alert = self._open(record, high, low)
            if alert is not None and len(alert) == 2 and (alert[0] == _FATAL or alert == _CLOSE_NOTIFY):
                return True
        return False

    def close_notify(self) -> bytes:
        """Return the datagram that says goodbye. To be sent once."""
        # OpenSSL's own explicit nonces count up from a random number, so that a random one is none of its few.
        nonce = secrets.token_bytes(_NONCE_BYTES)
        additional = _additional(0, ALERT_SEQUENCE_NUMBER, len(_CLOSE_NOTIFY))
        sealed = AESGCM(self._write_key).encrypt(self._write_salt + nonce, _CLOSE_NOTIFY, additional)
        length = len(nonce) + len(sealed)
        return _HEADER.pack(_ALERT, _DTLS_1_2, _EPOCH, 0, ALERT_SEQUENCE_NUMBER, length) + nonce + sealed

    def _open(self, record: bytes, high: int, low: int) -> bytes | None:
        """Return the plaintext of a record; None where it is not authentic."""
        size = len(record) - _NONCE_BYTES - _TAG_BYTES
        if size < 0:
            return None
        nonce = self._read_salt + record[:_NONCE_BYTES]
        try:
            return AESGCM(self._read_key).decrypt(nonce, record[_NONCE_BYTES:], _additional(high, low, size))
        except InvalidTag:
            return None


def _additional(high: int, low: int, size: int) -> bytes:
    """Return the additional data of a record (RFC 5246 section 6.2.3.3, RFC 6347 section 4.1.2.1)."""
    return _ADDITIONAL.pack(_EPOCH, high, low, _ALERT, _DTLS_1_2, size)


def _expand(name: str, secret: bytes, seed: bytes, size: int) -> bytes:
    """Return so many bytes of the pseudo-random function's P_hash (RFC 5246 section 5)."""
    output, step = b"", seed
    while len(output) < size:
        step = hmac.digest(secret, step, name)
        output += hmac.digest(secret, step + seed, name)
    return output[:size]
