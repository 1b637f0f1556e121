"""The wire: RTP and RTCP bytes in, values out, and back. No clock, no I/O, standard library only."""
