package central

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/wire"
)

// agentLife is how long an agent's certificate is good for. It asks for another when a third of that is left.
const agentLife = 90 * 24 * time.Hour

// agents returns the CA of the agents' certificates: central's own, if it has one.
func (id *identity) agents() fleet.CA {
	if id.ca == nil {
		return nil
	}
	return agentCA{id}
}

type agentCA struct{ *identity }

// Certify implements fleet.CA. Agents trust the CA for central, so no site is given a name of central's; and each
// certificate says by its URI that it is a site's, which no agent takes for central whatever else it says.
func (ca agentCA) Certify(site uuid.UUID, request *x509.CertificateRequest) ([]*x509.Certificate, error) {
	now := ca.now()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "PureBoot agent " + site.String()},
		NotBefore:   now.Add(-slowClocks),
		NotAfter:    now.Add(agentLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "urn", Opaque: strings.TrimPrefix(wire.SiteURN, "urn:") + site.String()}},
	}
	for _, name := range request.DNSNames {
		if validName(name) && !strings.HasPrefix(name, "*") && !ca.own(name) {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	for _, ip := range request.IPAddresses {
		if !ca.own(ip.String()) {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	cert, err := sign(template, ca.ca.cert, request.PublicKey, ca.ca.key)
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{cert, ca.ca.cert}, nil
}

// own says whether central goes by a name, or a name of its own covers it.
func (ca agentCA) own(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	_, below, _ := strings.Cut(name, ".")
	return slices.Contains(ca.names, name) || below != "" && slices.Contains(ca.names, "*."+below)
}
