"""Width and height in video headers: VP8 (RFC 6386), VP9 (bitstream specification 0.6), H.264 (ITU-T H.264)."""

from __future__ import annotations

from .bits import BitReader

MAX_SPS_BYTES = 512
"""Of a sequence parameter set; what stands behind concerns the decoder only."""
MAX_PICTURE_ORDER_CYCLE = 255
"""Frames in a picture order cycle (ITU-T H.264 section 7.4.2.1.1)."""

_VP8_START_CODE = b"\x9d\x01\x2a"
_VP9_FRAME_MARKER = 2
_VP9_SYNC_CODE = 0x498342
_VP9_SRGB = 7
_PROFILES_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
# Luma samples that one unit of cropping removes, across and down (Table 6-1), by chroma_format_idc.
_CROP_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}


def vp8_frame_size(frame: bytes) -> tuple[int, int] | None:
    """Return width and height in a VP8 keyframe's first ten bytes (RFC 6386 section 9.1), or None."""
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != _VP8_START_CODE:
        return None
    width = int.from_bytes(frame[6:8], "little") & 0x3FFF  # the two bits above are the scale to show it at
    height = int.from_bytes(frame[8:10], "little") & 0x3FFF
    return (width, height) if width and height else None


def vp9_frame_size(frame: bytes) -> tuple[int, int] | None:
    """Return width and height in a VP9 keyframe's uncompressed header (section 6.2), or None."""
    reader = BitReader(frame[:16])
    try:
        if reader.bits(2) != _VP9_FRAME_MARKER:
            return None
        profile = reader.bits(1) | reader.bits(1) << 1
        if profile == 3:
            reader.bits(1)
        show_existing_frame, non_key_frame = reader.flag(), reader.flag()
        reader.bits(2)  # show_frame, error_resilient_mode
        if show_existing_frame or non_key_frame or reader.bits(24) != _VP9_SYNC_CODE:
            return None
        if profile >= 2:
            reader.bits(1)  # ten_or_twelve_bit
        if reader.bits(3) != _VP9_SRGB:
            reader.bits(4 if profile in {1, 3} else 1)  # color_range, and subsampling where it is free
        elif profile in {1, 3}:
            reader.bits(1)
        return reader.bits(16) + 1, reader.bits(16) + 1
    except EOFError:
        return None


def h264_sps_size(sps: bytes) -> tuple[int, int] | None:
    """Return width and height, cropped, of an H.264 SPS that begins with its NAL header (section 7.3.2.1), or None."""
    unescaped = sps[1:MAX_SPS_BYTES].replace(b"\x00\x00\x03", b"\x00\x00")
    try:
        return _read_sps(BitReader(unescaped))
    except EOFError:
        return None


def _read_sps(reader: BitReader) -> tuple[int, int] | None:
    profile = reader.bits(8)
    reader.bits(16)  # constraints and level
    reader.unsigned()  # seq_parameter_set_id
    chroma = _read_chroma(reader) if profile in _PROFILES_WITH_CHROMA else 1
    reader.unsigned()  # log2_max_frame_num_minus4
    _skip_picture_order(reader)
    reader.unsigned()  # max_num_ref_frames
    reader.bits(1)  # gaps_in_frame_num_value_allowed_flag
    width_mbs = reader.unsigned() + 1
    height_map_units = reader.unsigned() + 1
    fields = 1 if reader.flag() else 2  # frame_mbs_only_flag
    if fields == 2:
        reader.bits(1)  # mb_adaptive_frame_field_flag
    reader.bits(1)  # direct_8x8_inference_flag
    width, height = 16 * width_mbs, 16 * height_map_units * fields
    if reader.flag():
        left, right, top, bottom = (reader.unsigned() for _ in range(4))
        across, down = _CROP_UNITS.get(chroma, (1, 1))
        width -= across * (left + right)
        height -= down * fields * (top + bottom)
    return (width, height) if 0 < width <= 0xFFFF and 0 < height <= 0xFFFF else None


def _read_chroma(reader: BitReader) -> int:
    chroma = reader.unsigned()
    separate_planes = chroma == 3 and reader.flag()
    reader.unsigned()  # bit_depth_luma_minus8
    reader.unsigned()  # bit_depth_chroma_minus8
    reader.bits(1)  # qpprime_y_zero_transform_bypass_flag
    if reader.flag():
        for index in range(12 if chroma == 3 else 8):
            if reader.flag():
                _skip_scaling_list(reader, 16 if index < 6 else 64)
    return 0 if separate_planes else chroma


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + reader.signed()) % 256
        last = following or last


def _skip_picture_order(reader: BitReader) -> None:
    order_type = reader.unsigned()
    if order_type == 0:
        reader.unsigned()  # log2_max_pic_order_cnt_lsb_minus4
    elif order_type == 1:
        reader.bits(1)  # delta_pic_order_always_zero_flag
        reader.signed()  # offset_for_non_ref_pic
        reader.signed()  # offset_for_top_to_bottom_field
        for _ in range(min(reader.unsigned(), MAX_PICTURE_ORDER_CYCLE)):
            reader.signed()
