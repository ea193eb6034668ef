#!/bin/sh
# Runs after the files are removed. Only Debian's purge removes what people wrote and what vendors sent: RPM has no purge, and keeps both.
set -e

[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ "$1" = purge ]; then
	rm -rf /etc/bridge /var/lib/bridge
fi
