#!/bin/sh
# Installs the Debian packages that the end-to-end test needs and that are not here yet. Without root or without Debian
# it changes nothing; the test then says what is missing and is skipped.
set -eu

packages="qemu-system-x86 ovmf ipxe ipxe-qemu dnsmasq-base busybox-static iproute2 xz-utils"

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
	echo "not installed without root on Debian: $packages"
	exit 0
fi
missing=
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
done
# The test downloads Debian's kernel by itself, but needs apt to know of it.
if [ -z "$missing" ] && apt-cache show linux-image-amd64 >/dev/null 2>&1; then
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086 # one word a package
apt-get install -y -q --no-install-recommends $missing >/dev/null
