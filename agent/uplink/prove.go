package uplink

import (
	"crypto/tls"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/pureboot/pureboot/central/wire"
)

// proof is how a client proves itself by a certificate in place of the credential. A connection is bound to the
// certificate that it began with, so each has a transport of its own.
type proof struct {
	from    *Certificate
	secret  atomic.Bool // a rotation is under way, which needs the credential
	refused atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	cert *tls.Certificate // of http
	http *http.Client
}

// ProveBy has the client prove itself by the certificate, where there is one that central takes, in place of the
// credential. It is for the time before the first request.
func (c *Client) ProveBy(from *Certificate) { c.proof = &proof{from: from} }

// client returns the one to use for now, and the certificate it shows; nil: the credential is to be used.
func (p *proof) client(like *http.Client) (*http.Client, *tls.Certificate) {
	if p == nil || p.secret.Load() {
		return nil, nil
	}
	cert := p.from.usable()
	if cert == nil || cert == p.refused.Load() {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cert != cert {
		if p.http != nil {
			p.http.CloseIdleConnections()
		}
		transport := like.Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		p.cert, p.http = cert, &http.Client{Transport: transport, CheckRedirect: like.CheckRedirect}
	}
	return p.http, cert
}

// deny notes that central does not take a certificate, and asks for another.
func (p *proof) deny(cert *tls.Certificate) {
	if p.refused.Swap(cert) != cert && p.from.usable() == cert {
		p.from.replace()
	}
}

// answered notes whether a rotation needs the credential, and says whether that is news.
func (p *proof) answered(asked *wire.Rotation) bool {
	return p != nil && p.secret.Swap(asked != nil) != (asked != nil) && asked != nil
}

func (p *proof) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.http != nil {
		p.http.CloseIdleConnections()
	}
}
