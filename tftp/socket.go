package tftp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// inbox is the listening socket. It knows of each packet which of this machine's addresses it was sent to.
type inbox struct {
	conn  *net.UDPConn
	bound netip.Addr // the socket's own address, unspecified if it hears all
	oob   [256]byte
}

func newInbox(conn *net.UDPConn) (*inbox, error) {
	in := &inbox{conn: conn, bound: conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()}
	if !in.bound.IsUnspecified() {
		return in, nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var v4, v6 error
	err = raw.Control(func(fd uintptr) {
		// An IPv6 socket that also hears IPv4 takes both.
		v4 = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
		if in.bound.Is6() {
			v6 = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1)
		}
	})
	if err := errors.Join(err, v4, v6); err != nil {
		return nil, fmt.Errorf("ask for the packets' destination: %w", err)
	}
	return in, nil
}

// read returns the next packet's length, where it came from, and the address it was sent to. That is the zero Addr if
// there is none to answer from: RFC 1123 section 4.2.3.5 wants a request to a broadcast address ignored.
func (in *inbox) read(buf []byte) (n int, client netip.AddrPort, local netip.Addr, err error) {
	n, oob, _, client, err := in.conn.ReadMsgUDPAddrPort(buf, in.oob[:])
	if err != nil {
		return 0, netip.AddrPort{}, netip.Addr{}, err
	}
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	local = in.bound
	if local.IsUnspecified() {
		local = destination(in.oob[:oob])
	}
	if local.Is6() && local.IsLinkLocalUnicast() {
		local = local.WithZone(client.Addr().Zone())
	}
	return n, client, local, nil
}

// destination returns the address that a packet with the control data oob was sent to, if it is a single machine's.
func destination(oob []byte) netip.Addr {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}
	}
	var dst netip.Addr
	for _, m := range messages {
		switch {
		case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_PKTINFO && len(m.Data) >= 12:
			// struct in_pktinfo: interface, our address, the packet's destination. They differ in a broadcast. Ours is
			// unspecified in a packet that came before we asked to know it.
			ours, sent := netip.AddrFrom4([4]byte(m.Data[4:])), netip.AddrFrom4([4]byte(m.Data[8:]))
			if ours != sent && !ours.IsUnspecified() {
				return netip.Addr{}
			}
			dst = sent
		case m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_PKTINFO && len(m.Data) >= 16:
			dst = netip.AddrFrom16([16]byte(m.Data)).Unmap()
		}
	}
	if dst.IsMulticast() {
		return netip.Addr{}
	}
	return dst
}

// dial returns a socket that talks to client alone, from local and a port of its own: the kernel drops what others
// send to it, and reports when nobody listens at the client's port any more.
func dial(local netip.Addr, client netip.AddrPort) (*net.UDPConn, error) {
	return net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)), net.UDPAddrFromAddrPort(client))
}
