"""What carries media: ICE-lite, the UDP port that all peers share, DTLS and SRTP."""
