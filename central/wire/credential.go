package wire

// What a refusal is about, as the type of its problem. Neither says that what was asked for does not exist.
const (
	ProblemRevoked = "urn:pureboot:problem:agent-revoked" // 401: the credential was right, and an administrator ended it
	ProblemFenced  = "urn:pureboot:problem:agent-fenced"  // 403: another agent has the same credential, and is the one that central serves
)

// HeaderBoot names the process of the agent that a request comes from, as boot_id does in its heartbeats.
const HeaderBoot = "PureBoot-Boot-ID"

// SiteURN begins the URI in each certificate that central makes for an agent; the id of the site follows. A certificate
// with one is never central's own.
const SiteURN = "urn:pureboot:site:"

// PathCertificate is where an agent asks for a certificate: POST CertificateRequest -> Certificate.
const PathCertificate = "/api/v1/agents/certificate"

// NextCredential announces the secret that an agent has made for a rotation, in heartbeats under the old one. Only the
// hash is sent.
type NextCredential struct {
	Rotation string `json:"rotation"` // that it is for
	SHA256   string `json:"sha256"`   // hexadecimal, of the secret's text
}

// Rotation asks an agent, with each answer until it is over, for a new secret. It is over when the new one is used: the
// old one then opens nothing any more.
type Rotation struct {
	ID       string `json:"id"`
	Accepted string `json:"accepted,omitempty"` // SHA-256 of the secret that opens central too, if one was announced
}

// CertificateRequest asks for a certificate in the name of the agent's site, for its HTTPS listener and to prove itself to
// central with.
type CertificateRequest struct {
	CSR string `json:"csr" doc:"PKCS #10, PEM; it asks for names and addresses that the agent goes by, and gets the host of its site's agent_url, and addresses"`
}

// Certificate is what central made of a request: the certificate, then that of the CA.
type Certificate struct {
	Certificate string `json:"certificate" doc:"PEM"`
}
