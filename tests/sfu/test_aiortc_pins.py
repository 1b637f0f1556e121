"""The private names that the one privileged file relies on: an upgrade of aiortc fails here, not in production."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pylibsrtp
import pytest
from aiortc import rtcdtlstransport
from aiortc.contrib.media import MediaRelay
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate, RTCDtlsTransport
from pylibsrtp._binding import ffi, lib

import sfu
from sfu.transport.dtls import SRTP_PREFERENCE, Certificate, MediaTransport

ROOT = Path(sfu.__file__).parent
PRIVILEGED = ROOT / "transport" / "dtls.py"
NAMES = ("_task", "_ssl", "_rx_srtp", "_tx_srtp", "_srtp_profiles", "_role", "_data_receiver")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("start", ["self", "remoteParameters"]),
        ("_set_role", ["self", "role"]),
        ("_setup_srtp", ["self"]),
        ("_recv_next", ["self"]),
        ("_write_ssl", ["self"]),
    ],
)
def test_the_dtls_transport_has_the_methods_that_are_called_or_overridden(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(RTCDtlsTransport, name)).parameters) == parameters


def test_the_certificate_builds_its_context_where_it_is_overridden() -> None:
    assert list(inspect.signature(RTCCertificate._create_ssl_context).parameters) == ["self", "srtp_profiles"]
    assert "_create_ssl_context(" in inspect.getsource(RTCDtlsTransport.start)


async def test_the_dtls_transport_has_the_attributes_that_are_read() -> None:
    transport = MediaTransport(Certificate(), lambda _data: None)
    assert vars(transport).keys() >= set(NAMES)
    assert transport.state == "new"


def test_of_its_ice_transport_dtls_uses_no_more_than_the_queue_has() -> None:
    tree = ast.parse(inspect.getsource(rtcdtlstransport))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in {"transport", "_transport"}
    }
    assert used == {"role", "_recv", "_send"}


def test_srtp_has_the_profiles_and_the_buffer_that_is_enlarged() -> None:
    assert set(SRTP_PREFERENCE) <= set(SRTP_PROFILES)
    session = pylibsrtp.Session()
    assert {"_cdata", "_buffer", "_srtp"} <= vars(session).keys()


def test_libsrtp_is_called_as_pylibsrtp_calls_it() -> None:
    signature = ffi.typeof(lib.srtp_protect)
    assert [argument.cname for argument in signature.args] == ["struct srtp_ctx_t_ *", "void *", "int *"]
    assert ffi.typeof(lib.srtp_unprotect) == signature
    assert lib.srtp_err_status_ok == 0


def test_libsrtp_numbers_its_errors_as_pylibsrtp_names_them() -> None:
    # srtp.h: srtp_err_status_replay_fail is 9, srtp_err_status_replay_old is 10.
    assert pylibsrtp.ERRORS[9:11] == ["replay check failed (bad index)", "replay check failed (index too old)"]


def test_the_relay_can_be_subclassed() -> None:
    assert list(inspect.signature(MediaRelay.subscribe).parameters) == ["self", "track", "buffered"]


def test_no_other_file_of_the_engine_reaches_into_aiortc() -> None:
    for path in ROOT.rglob("*.py"):
        if path == PRIVILEGED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {
                "aiortc",
                "pylibsrtp",
                "aioice",
            }:
                assert not any(name.name.startswith("_") for name in node.names), path
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = node.value
                assert isinstance(owner, ast.Name), f"{path}:{node.lineno}"
                assert owner.id == "self", f"{path}:{node.lineno} reads {owner.id}.{node.attr}"
