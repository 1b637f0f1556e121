"""The one-file build, `dist/aiosfu`: `python -m deploy.binary` makes it, as `make binary` does.

PyInstaller freezes an installed wheel into a folder; the file is a shell script with that folder's archive behind it.
The script unpacks it once for each build and user and then *becomes* the program. PyInstaller's own one-file form
unpacks at every start, leaves 200 MB in /tmp after each kill -9, and runs two processes, of which the outer forwards
signals to the inner: Ctrl-C arrives twice, and a service manager watches the wrong one.
"""
