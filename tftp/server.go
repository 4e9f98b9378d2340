// Package tftp serves files to firmware: TFTP read requests (RFC 1350) with the options blksize (RFC 2348) and tsize
// (RFC 2349), negotiated as RFC 2347 says. It knows nothing of where files come from: Options.Open is all it asks.
//
// The path of a request: Serve reads it from the listening socket, parses it (request.go), cleans its name (name.go) and
// admits it (admit.go), which is where a repetition of a request under way ends, before it has cost anything. An
// admitted request gets one goroutine and one socket, bound to the address the client sent to and connected to the
// client (socket.go). There the file is opened and sent block by block (transfer.go), or the client is told in an RFC
// 1350 error code, never in an inner error's words, why not (reply.go).
//
// The sending is our own, not that of pin/tftp's server, which binds a socket to each request before its handler is
// asked. A handler can then refuse only with code 1 and the error's text, cannot drop a repeated request without
// answering it (returning nil leaks the socket, ReadFrom sends the OACK), and a file that ends in
// io.ErrUnexpectedEOF reaches the client as a shorter, whole-looking one. Its way in for a wrapped net.PacketConn,
// which could mend the first two, no longer knows the address to answer from.
package tftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Request is one read request.
type Request struct {
	// Name is the file's name as CleanName returns it.
	Name string
	// Client is the address and port the request came from.
	Client netip.AddrPort
	// Local is this machine's address that the client sent to, and that it is answered from.
	Local netip.Addr
}

// File is what Options.Open returns. It is read once from its start and then closed, all by one goroutine.
type File interface {
	io.ReadCloser
	// Size is the file's length in bytes, or negative when that is not known. A file that then ends earlier or later
	// is a failure that the client is told of: a cut-off kernel must not look whole.
	Size() int64
}

// Transfer is the record of one ended transfer.
type Transfer struct {
	Request
	// Bytes of the file that the client acknowledged; in netascii, as sent.
	Bytes int64
	// Took is the time from the request to its end, with that in Open.
	Took time.Duration
	// Err is nil when the client has the whole file, and an ErrAborted when it did not want it. Otherwise it is what
	// Open or the file returned, or what became of the client.
	Err error
}

// Options configures a Server. A zero field means the default that its comment states.
type Options struct {
	// Open opens the file a request names. Required, and called by many goroutines at once. It may wait, for a file
	// that is still being fetched, as long as OpenTimeout; the client's repetitions are ignored meanwhile. An error
	// that is fs.ErrNotExist, fs.ErrPermission or fs.ErrInvalid reaches the client as code 1, 2 or 4, any other as 0.
	//
	// ctx lasts until the file is closed. When it ends, Open and the file's Read must return soon: nothing else can
	// interrupt them, and Serve waits for both.
	Open func(ctx context.Context, r Request) (File, error)
	// Done, if set, is told of each transfer that ended, on that transfer's goroutine: many may call it at once.
	// Requests that were dropped, or refused for their form or name, are not transfers.
	Done func(Transfer)
	// Log takes the server's records; none are written by default.
	Log *slog.Logger
	// MaxTransfers bounds the transfers at once; one client address may hold half of them. Default 512. A request
	// beyond the bound is dropped: firmware repeats a request that goes unanswered, but gives up the boot at an error.
	MaxTransfers int
	// BlockSize is the largest block granted, in bytes, 512 to 65464. Default 1428, which with its headers stays
	// unfragmented on an Ethernet even inside a tunnel or two: boot ROMs do not reassemble.
	BlockSize int
	// Timeout is how long a packet waits for its acknowledgement before it is sent again. Default 2 s.
	Timeout time.Duration
	// Retries is how often a packet is sent again before the client counts as gone. Default 8.
	Retries int
	// OpenTimeout bounds Open. Default 30 s.
	OpenTimeout time.Duration
	// TransferTimeout bounds a whole transfer, with Open. Default 15 min.
	TransferTimeout time.Duration
	// DrainTimeout is how long transfers under way may go on after Serve's context ended. Default 10 s.
	DrainTimeout time.Duration
}

// withDefaults returns o with its zero fields filled in, or every complaint about it.
func (o Options) withDefaults() (Options, error) {
	var faults []error
	if o.Open == nil {
		faults = append(faults, errors.New("tftp: Open is missing"))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	number := func(name string, v *int, standard, low, high int) {
		if *v == 0 {
			*v = standard
		}
		if *v < low || *v > high {
			faults = append(faults, fmt.Errorf("tftp: %s is %d, not within %d to %d", name, *v, low, high))
		}
	}
	number("MaxTransfers", &o.MaxTransfers, 512, 1, 65536)
	number("BlockSize", &o.BlockSize, 1428, plainBlock, maxBlock)
	number("Retries", &o.Retries, 8, 1, 100)
	duration := func(name string, v *time.Duration, standard time.Duration) {
		if *v == 0 {
			*v = standard
		}
		if *v < 0 {
			faults = append(faults, fmt.Errorf("tftp: %s is negative: %v", name, *v))
		}
	}
	duration("Timeout", &o.Timeout, 2*time.Second)
	duration("OpenTimeout", &o.OpenTimeout, 30*time.Second)
	duration("TransferTimeout", &o.TransferTimeout, 15*time.Minute)
	duration("DrainTimeout", &o.DrainTimeout, 10*time.Second)
	return o, errors.Join(faults...)
}

// Server answers read requests. Its methods may be called by several goroutines at once.
type Server struct {
	opt Options
	log *slog.Logger

	mu      sync.Mutex
	running map[netip.AddrPort]*transfer // by client, the latest; under mu
	live    int                          // transfers not ended, those that were replaced too; under mu
	full    bool                         // MaxTransfers was hit and said so in the log; under mu
}

// New returns a server, or every fault of its options.
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Server{opt: o, log: o.Log, running: make(map[netip.AddrPort]*transfer)}, nil
}

// Serve answers the requests that arrive at conn until ctx ends, and closes conn. It then lets the transfers under way
// finish for DrainTimeout, ends the others, and returns when all their goroutines have. Its error is nil after ctx
// ended, else what broke the reading of conn. It may run for several sockets at once, which share the limits.
func (s *Server) Serve(ctx context.Context, conn *net.UDPConn) error {
	defer conn.Close()
	in, err := newInbox(conn)
	if err != nil {
		return fmt.Errorf("tftp: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	var transfers sync.WaitGroup
	err = s.receive(work, in, &transfers)
	if ctx.Err() != nil {
		err = nil
	}
	conn.Close()
	defer time.AfterFunc(s.opt.DrainTimeout, func() { end(errStopping) }).Stop()
	transfers.Wait()
	return err
}

// receive handles the packets of in, one after the other, until reading fails. Nothing that it does waits for a client.
func (s *Server) receive(ctx context.Context, in *inbox, transfers *sync.WaitGroup) error {
	buf := make([]byte, maxRequest)
	for {
		n, client, local, err := in.read(buf)
		if err != nil {
			return fmt.Errorf("tftp: read requests: %w", err)
		}
		asked, ok := parseRequest(buf[:n])
		if !ok || !local.IsValid() || client.Port() == 0 {
			continue
		}
		r, err := asked.check(client, local)
		if err != nil {
			s.refuse(client, local, err)
			continue
		}
		s.admit(ctx, r, transfers)
	}
}

// refuse answers a request that never becomes a transfer.
func (s *Server) refuse(client netip.AddrPort, local netip.Addr, why error) {
	s.log.Debug("tftp request refused", "client", client, "err", why)
	conn, err := dial(local, client)
	if err != nil {
		s.log.Debug("tftp client out of reach", "client", client, "err", err)
		return
	}
	defer conn.Close()
	tell(conn, why)
}
