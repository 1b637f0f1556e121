"""The signalling service: rooms, invitations and the WebSocket protocol, in front of `sfu.Engine`."""
