#!/bin/sh
# Runs when the package's files are there. Debian gives the word "configure" and, in an upgrade, the old version; RPM gives the number of
# versions that are installed.
set -e

upgrade=
case "$1" in
configure) [ -z "$2" ] || upgrade=yes ;;
1) ;;
2) upgrade=yes ;;
*) exit 0 ;;
esac

systemd-sysusers bridge.conf
systemd-tmpfiles --create bridge.conf
[ -d /run/systemd/system ] || exit 0 # an image is built, for example
systemctl daemon-reload
if [ -z "$upgrade" ]; then
	echo "Describe your sources in /etc/bridge/bridge.yaml, then: systemctl enable --now bridge.socket bridge.service"
elif systemctl is-active --quiet bridge.service; then
	# The new program takes over from the old one, and no webhook is refused. If it cannot, the old one goes on and logs why.
	systemctl kill --signal=USR2 --kill-who=main bridge.service
fi
