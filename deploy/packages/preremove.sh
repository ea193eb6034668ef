#!/bin/sh
# Runs before the files are removed. Debian gives the word "remove" or "upgrade"; RPM gives the number of versions that stay.
set -e

case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --quiet --now bridge.socket bridge.service
	fi
	;;
esac
