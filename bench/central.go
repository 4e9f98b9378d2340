package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// quiet swallows what http servers say of connections that were cut on purpose.
var quiet = log.New(io.Discard, "", 0)

// benchSite is the site of every agent.
const benchSite = "5b1f3a52-0f0e-4c1e-9c55-2f9b6a2f4d10"

// centralRoutes is as much of central as an agent needs to serve content.
func (o *origin) centralRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathRegister, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusCreated, wire.Registered{SiteID: benchSite, SiteName: "bench", ServerTime: time.Now()})
	})
	mux.HandleFunc("POST "+wire.PathHeartbeat, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, wire.HeartbeatAnswer{
			ProtocolVersion: wire.ProtocolVersion, Capabilities: []string{}, ServerTime: time.Now(), NextIn: 60,
			ContentEpoch: o.epoch(), NodeEpoch: wire.Epoch{Stream: "bench", N: 1},
		})
	})
	mux.HandleFunc("GET "+wire.PathManifest, o.manifest)
	mux.HandleFunc("GET "+wire.PathContent+"/{category}/{path...}", o.content)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound) })
	return mux
}

// perPage bounds the changes of which a page of the manifest tells.
const perPage = 2000

// manifest answers with a page; its cursor is where in the history the next one begins.
func (o *origin) manifest(w http.ResponseWriter, r *http.Request) {
	since, err := wire.ParseEpoch(r.URL.Query().Get("since"))
	page := wire.Manifest{Epoch: o.epoch(), Full: err != nil || since.Stream != "bench", Items: []wire.ManifestItem{}}
	if page.Full {
		since.N = 0
	}
	if next, err := strconv.ParseInt(r.URL.Query().Get("cursor"), 10, 64); err == nil && next > since.N {
		since.N = next
	}
	end := min(since.N+perPage, page.Epoch.N)
	if end < page.Epoch.N {
		page.Next = strconv.FormatInt(end, 10)
	}
	o.mu.Lock()
	var changed []*object
	for i := min(since.N, end); i < end; i++ {
		if obj := o.history[i]; obj.published == int(i)+1 {
			changed = append(changed, obj)
		}
	}
	o.mu.Unlock()
	for _, obj := range changed {
		page.Items = append(page.Items, wire.ManifestItem{File: obj.current().describe().File, Assigned: true})
	}
	answer(w, http.StatusOK, page)
}

// content answers what a file is made of, and its bytes, to who names the version that is current.
func (o *origin) content(w http.ResponseWriter, r *http.Request) {
	obj := o.find(r.PathValue("path"))
	if obj == nil || r.PathValue("category") != cmp.Or(obj.category, wire.Images) {
		refuse(w, http.StatusNotFound)
		return
	}
	v := obj.current()
	chunks := v.describe()
	chunks.Epoch = o.epoch()
	w.Header().Set(wire.HeaderEpoch, chunks.Epoch.String())
	if r.URL.Query().Has("chunks") {
		obj.questions.Add(1)
		obj.note("what is it made of")
		obj.sent.Add(answer(w, http.StatusOK, chunks))
		return
	}
	etag := `"` + chunks.SHA256 + `"`
	// An agent that would take the file encoded names that form too; here there is none.
	if match := r.Header.Get("If-Match"); match != "" && !strings.Contains(match, etag) {
		obj.note("asked for a version that is gone")
		refuse(w, http.StatusPreconditionFailed)
		return
	}
	o.send(w, r, obj, v, etag)
}

// answer returns the length of the body.
func answer(w http.ResponseWriter, status int, v any) int64 {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the structs of wire can always be encoded
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	n, _ := w.Write(text) // whom it does not reach will ask again
	return int64(n)
}

func refuse(w http.ResponseWriter, status int) {
	text, _ := json.Marshal(wire.Problem{Status: status, Title: http.StatusText(status)}) // two plain fields
	w.Header().Set("Content-Type", wire.MediaTypeProblem)
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// authority is a CA that lives as long as the origin, with the origin's certificate.
type authority struct {
	cert tls.Certificate
	pin  [sha256.Size]byte // of the CA's public key
}

func newAuthority() (*authority, error) {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "bench origin"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	caText, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	if ca, err = x509.ParseCertificate(caText); err != nil {
		return nil, err
	}
	leafText, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return &authority{
		cert: tls.Certificate{Certificate: [][]byte{leafText, caText}, PrivateKey: key},
		pin:  sha256.Sum256(ca.RawSubjectPublicKeyInfo),
	}, nil
}

func (a *authority) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.cert}, MinVersion: tls.VersionTLS12}
}

// joinToken is what an agent needs to enrol.
func (a *authority) joinToken() string {
	return "pbj1." + hex.EncodeToString(a.pin[:]) + ".bench." + strings.Repeat("x", 43)
}
