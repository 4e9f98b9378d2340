package agent

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/uplink"
)

// serveHTTPS serves the machines and, by token, the operator, with the certificate that central makes. Before there is
// one, each handshake fails. It speaks HTTP/1.1, which is all that firmware does.
func (a *Agent) serveHTTPS(ctx context.Context, group *errgroup.Group) {
	a.serveHTTP(ctx, group, tls.NewListener(a.https, &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: a.shown.Get, NextProtos: []string{"http/1.1"},
	}), secured(a.operator.Guarded(), a.gateway))
}

// secured has the operator's paths and those of the machines side by side.
func secured(operator, machines http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == admin.Root || strings.HasPrefix(r.URL.Path, admin.Root+"/") {
			operator.ServeHTTP(w, r)
			return
		}
		machines.ServeHTTP(w, r)
	})
}

// Values of central_auth.
const (
	byCredential  = "credential"
	byCertificate = "certificate"
)

// certified says whether there is to be a certificate.
func (c Config) certified() bool { return c.Listen.HTTPS != "" || c.CentralAuth == byCertificate }

func (a *Agent) loadCertificate(clock *uplink.Clock) {
	if !a.cfg.certified() {
		return
	}
	o := uplink.CertificateOptions{
		State: a.cfg.StateDir(), Names: a.cfg.HTTPSNames(), Clock: clock, Log: a.log.With("room", "uplink"),
	}
	if a.client != nil { // an interface that holds a nil client would not be nil
		o.Client = a.client
	}
	a.shown = uplink.LoadCertificate(o)
	if a.client != nil && a.cfg.CentralAuth == byCertificate {
		a.client.ProveBy(a.shown)
	}
}

// HTTPSNames are the names and addresses that central is asked to certify for listen.https; none while that is off. Those
// that nobody set are the host's name and its addresses as they are now.
func (c Config) HTTPSNames() []string {
	switch {
	case c.Listen.HTTPS == "":
		return nil
	case len(c.Listen.HTTPSNames) > 0:
		return c.Listen.HTTPSNames
	}
	var names []string
	if host, err := os.Hostname(); err == nil && validHost(host) {
		names = append(names, host)
	}
	addresses, _ := net.InterfaceAddrs() // without them the name remains
	for _, addr := range addresses {
		if ip, ok := addr.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && len(names) < maxHTTPSNames {
			names = append(names, ip.IP.String())
		}
	}
	return names
}

// maxHTTPSNames bounds what central is asked to certify.
const maxHTTPSNames = 32

// validHost says whether a text is an IP address or the name of a host.
func validHost(name string) bool {
	if net.ParseIP(name) != nil {
		return true
	}
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		odd := strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-'
		})
		if label == "" || len(label) > 63 || odd || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return true
}
