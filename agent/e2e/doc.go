// Package e2e boots machines with real firmware through the real pair of programs, and holds no code but its test.
//
// The test runs in namespaces of its own, which end with it: a bridge is the site's LAN, dnsmasq its DHCP
// server, QEMU's machines hang on taps. The agent listens on the bridge; central on loopback, where no machine can reach
// it, behind a relay that counts what the agent fetches. `make e2e` runs it. It needs root and some Debian packages,
// which packages.sh installs; where something is missing it is skipped and says what.
package e2e
