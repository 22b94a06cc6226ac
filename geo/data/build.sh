#!/bin/sh
# Makes geo/data/country.table anew from Debian's tor-geoipdb package. Needs apt-get, dpkg-deb and
# Go; run it from anywhere (`make geodata` does). Review the printed date and the diff of
# ATTRIBUTION before committing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q tor-geoipdb
dpkg-deb -x tor-geoipdb_*.deb root
cd "$here/../.."
go run -tags nogeodata ./geo/data/gen -v4 "$work/root/usr/share/tor/geoip" -v6 "$work/root/usr/share/tor/geoip6" -out geo/data/country.table
generated=$(sed -n 's/^# Generated: *//p' "$work/root/usr/share/tor/geoip" | head -n 1)
package=$(basename "$work"/tor-geoipdb_*.deb)
sed -i -e "s|^Exported by its maker: .*|Exported by its maker: $generated|" -e "s|^Taken from: .*|Taken from: $package (Debian)|" geo/data/ATTRIBUTION
