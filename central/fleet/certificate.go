package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// CA makes the certificates of agents.
type CA interface {
	// Certify makes a certificate for the key, the names and the addresses of a request, in the name of a site, and
	// returns it with that of the CA after it. Those that central itself goes by are left out.
	Certify(site uuid.UUID, request *x509.CertificateRequest) ([]*x509.Certificate, error)
}

// Bounds of a request for a certificate.
const (
	maxCSR   = 16 << 10 // bytes
	maxNames = 64
)

// Certificate makes a certificate for the agent of a site. Errors: *store.Invalid; *store.Conflict if this central has no
// CA of its own.
func (f *Fleet) Certificate(ctx context.Context, by store.Actor, csr string) (wire.Certificate, error) {
	if f.CA == nil {
		return wire.Certificate{}, &store.Conflict{Message: "this central uses a certificate that it was given (tls.cert), and makes none"}
	}
	request, why := parseRequest(csr)
	if why != "" {
		return wire.Certificate{}, &store.Invalid{Fields: []wire.ProblemField{{Location: "body.csr", Message: why}}}
	}
	asked := request.DNSNames
	if err := f.narrow(ctx, by.Site, request); err != nil {
		return wire.Certificate{}, err
	}
	chain, err := f.CA.Certify(by.Site, request)
	if err != nil {
		return wire.Certificate{}, err
	}
	sum := sha256.Sum256(chain[0].Raw)
	if err := f.Store.SetCertificate(ctx, by, hex.EncodeToString(sum[:]), chain[0]); err != nil {
		return wire.Certificate{}, err
	}
	f.Log.Info("made a certificate for an agent", "site", by.Site, "names", strings.Join(chain[0].DNSNames, " "), "asked", strings.Join(asked, " "), "expires", chain[0].NotAfter,
		"request", by.RequestID)
	var text []byte
	for _, cert := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return wire.Certificate{Certificate: string(text)}, nil
}

// narrow leaves of a request what is the site's: the one name is the host of its agent_url, whichever the agent asks for,
// and an address that another site's agent_url names is that site's alone. So whoever has the agent of one site passes for
// no other.
func (f *Fleet) narrow(ctx context.Context, site uuid.UUID, request *x509.CertificateRequest) error {
	own, others, err := f.Store.AgentHosts(ctx, site)
	if err != nil {
		return err
	}
	request.DNSNames = nil
	request.IPAddresses = slices.DeleteFunc(request.IPAddresses, func(ip net.IP) bool {
		return others[ip.String()] || ip.String() == own
	})
	if ip := net.ParseIP(own); ip != nil {
		request.IPAddresses = append(request.IPAddresses, ip)
	} else if own != "" {
		request.DNSNames = []string{own}
	}
	return nil
}

// parseRequest reads a request and says what is wrong with it.
func parseRequest(text string) (_ *x509.CertificateRequest, why string) {
	block, _ := pem.Decode([]byte(text))
	if len(text) > maxCSR || block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, "want a PKCS #10 request in PEM of at most 16 KiB"
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.CheckSignature() != nil {
		return nil, "it cannot be read, or is not signed by its own key"
	}
	strong := false
	switch key := request.PublicKey.(type) {
	case *ecdsa.PublicKey:
		strong = key.Curve.Params().BitSize >= 256
	case ed25519.PublicKey:
		strong = true
	case *rsa.PublicKey:
		strong = key.N.BitLen() >= 2048 && key.N.BitLen() <= 8192
	}
	switch {
	case !strong:
		return nil, "want a key of ECDSA with 256 bits or more, Ed25519, or RSA with 2048 to 8192"
	case len(request.DNSNames)+len(request.IPAddresses) > maxNames:
		return nil, "more than 64 names and addresses"
	case len(request.URIs)+len(request.EmailAddresses) > 0:
		return nil, "want names and addresses of hosts alone"
	}
	return request, ""
}
