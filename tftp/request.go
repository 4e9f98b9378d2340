package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
)

// The packets of RFC 1350 and RFC 2347, by their first two bytes.
const (
	opRead  = 1
	opWrite = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOack  = 6
)

// Block sizes in bytes: that of a request without options, and the bounds of RFC 2348.
const (
	plainBlock = 512
	minBlock   = 8
	maxBlock   = 65464
)

// maxRequest bounds a request, in bytes; RFC 2347 bounds it to 512, some clients know no bound.
const maxRequest = 2048

// errReadOnly is an fs.ErrPermission: writes are refused with code 2.
var errReadOnly = fmt.Errorf("write request: %w", fs.ErrPermission)

// asked is a request as it stood in the packet.
type asked struct {
	write   bool
	name    string
	mode    string            // in lower case
	options map[string]string // names in lower case
}

// parseRequest reads a read or write request. It reports false for any other packet, and for one too broken to answer:
// an answer to strangers' noise could meet a server that answers back.
func parseRequest(packet []byte) (asked, bool) {
	if len(packet) < 2 {
		return asked{}, false
	}
	op := binary.BigEndian.Uint16(packet)
	if op != opRead && op != opWrite {
		return asked{}, false
	}
	name, rest, ok := bytes.Cut(packet[2:], []byte{0})
	if !ok {
		return asked{}, false
	}
	// A ROM that copies the DHCP file name with its NUL ends the name with two of them.
	mode, rest, _ := bytes.Cut(bytes.TrimLeft(rest, "\x00"), []byte{0})
	if len(mode) == 0 {
		return asked{}, false
	}
	a := asked{
		write:   op == opWrite,
		name:    string(name),
		mode:    strings.ToLower(string(mode)),
		options: make(map[string]string),
	}
	for len(rest) > 0 {
		var option, value []byte
		option, rest, _ = bytes.Cut(rest, []byte{0})
		value, rest, _ = bytes.Cut(rest, []byte{0})
		key := strings.ToLower(string(option))
		if _, twice := a.options[key]; !twice { // RFC 2347: an option may be given once
			a.options[key] = string(value)
		}
	}
	return a, true
}

// request is a read request ready to be served. Equal requests are repetitions of one another.
type request struct {
	Request
	netascii bool
	tsize    bool // the client asks for the size
	blksize  int  // the block size the client asks for, 0 if it does not
}

// check cleans the name and keeps the options that the server knows; an option with a senseless value is ignored, as
// RFC 2347 wants unknown ones to be. Its errors are an fs.ErrInvalid or fs.ErrPermission.
func (a asked) check(client netip.AddrPort, local netip.Addr) (request, error) {
	if a.write {
		return request{}, errReadOnly
	}
	if a.mode != "octet" && a.mode != "netascii" {
		return request{}, fmt.Errorf("mode %.20q: %w", a.mode, fs.ErrInvalid)
	}
	name, err := CleanName(a.name)
	if err != nil {
		return request{}, err
	}
	r := request{
		Request:  Request{Name: name, Client: client, Local: local},
		netascii: a.mode == "netascii",
	}
	_, r.tsize = a.options["tsize"]
	n, err := strconv.ParseUint(a.options["blksize"], 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n > maxBlock:
		r.blksize = maxBlock
	case err == nil && n >= minBlock:
		r.blksize = int(n)
	}
	return r, nil
}
