package tftp

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"strconv"
)

// Error codes of RFC 1350 and, the last, RFC 2347.
const (
	codeUndefined = 0
	codeNotFound  = 1
	codeAccess    = 2
	codeIllegal   = 4
	codeOptions   = 8
)

// refusal returns what a client is told of err: a code, and a text that does not depend on more than the code.
func refusal(err error) (code uint16, text string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return codeNotFound, "file not found"
	case errors.Is(err, fs.ErrPermission):
		return codeAccess, "access violation"
	case errors.Is(err, fs.ErrInvalid):
		return codeIllegal, "illegal operation"
	default:
		return codeUndefined, "try again later"
	}
}

// tell sends the error packet for err, once, as RFC 1350 section 7 wants it: should it get lost, the client asks again.
func tell(conn *net.UDPConn, err error) {
	code, text := refusal(err)
	packet := binary.BigEndian.AppendUint16(nil, opError)
	packet = binary.BigEndian.AppendUint16(packet, code)
	packet = append(packet, text...)
	conn.Write(append(packet, 0))
}

// oack is the answer to the options of a request that the server grants: the packet, nil if there are none, and the
// block size in bytes. The size of a file is not told in netascii, where it is known only once it was sent, and not
// that of an empty file: curl, for one, takes a size of 0 for an error.
func (r request) oack(largest int, size int64) (packet []byte, block int) {
	block = plainBlock
	packet = binary.BigEndian.AppendUint16(nil, opOack)
	option := func(name string, value int64) {
		packet = append(append(packet, name...), 0)
		packet = append(strconv.AppendInt(packet, value, 10), 0)
	}
	if r.blksize > 0 {
		block = min(r.blksize, largest)
		option("blksize", int64(block))
	}
	if r.tsize && !r.netascii && size > 0 {
		option("tsize", size)
	}
	if len(packet) == 2 {
		return nil, block
	}
	return packet, block
}
