#!/bin/sh
# No daemon starts because its package was installed: the lab file's `services` say what runs.
exit 101
