package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// putContent stores a file.
func (a *api) putContent(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	digest, faults := announced(r.Header)
	if malformed(w, slices.Concat(faults, plain(r.Header), parameters(r.URL.Query()))) {
		return
	}
	file, change, err := a.Content.Put(r.Context(), content.Upload{
		Category: r.PathValue("category"), Path: r.PathValue("path"),
		Body: a.receiving(w, r), SHA256: digest, Size: r.ContentLength,
		If: condition(r.Header), Also: a.auditFile(r.Context(), "content.put"),
	})
	if err != nil {
		a.contentError(w, r, err)
		return
	}
	a.stored(w, r, file, change)
}

// receiving is the body of an upload.
func (a *api) receiving(w http.ResponseWriter, r *http.Request) *upload {
	return &upload{body: http.MaxBytesReader(w, r.Body, maxUpload), control: http.NewResponseController(w)}
}

// stored answers with a file that was stored.
func (a *api) stored(w http.ResponseWriter, r *http.Request, file wire.File, change content.Change) {
	if !a.setEpoch(w, r) {
		return
	}
	status := http.StatusOK
	if change == content.Created {
		status = http.StatusCreated
	}
	describe(w, file)
	a.writeJSON(w, r, status, file)
}

// deleteContent removes a file. With ?purge it cannot be rolled back; with ?force, which is for admins, it goes
// although it is in use.
func (a *api) deleteContent(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if malformed(w, parameters(query, "purge", "force")) {
		return
	}
	var err error
	if query.Has("force") && !caller(r.Context()).role.Allows(store.Admin) {
		err = forbidden("to remove what is in use needs the role admin")
	} else {
		err = a.Content.Remove(r.Context(), content.Removal{
			Category: r.PathValue("category"), Path: r.PathValue("path"), If: condition(r.Header),
			Purge: query.Has("purge"), Force: query.Has("force"),
			Also: func(ctx context.Context, tx *ent.Tx, e content.Edit) error {
				return store.Audit(ctx, tx, caller(r.Context()).Actor, store.Act{
					Action: "content.delete", Subject: subjectOf(e.Before), Detail: r.URL.RawQuery, Before: e.Before,
				})
			},
		})
	}
	if err != nil {
		a.contentError(w, r, err)
		return
	}
	if a.setEpoch(w, r) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// postContent does what the last element of the path says to the file that the others name.
func (a *api) postContent(w http.ResponseWriter, r *http.Request) {
	if malformed(w, parameters(r.URL.Query())) {
		return
	}
	category, path := r.PathValue("category"), r.PathValue("path")
	if path, ok := strings.CutSuffix(path, "/rollback"); ok {
		a.rollBack(w, r, category, path)
	} else if path, ok := strings.CutSuffix(path, "/verify"); ok {
		a.verify(w, r, category, path)
	} else {
		w.Header().Set("Allow", "DELETE, GET, HEAD, PUT")
		writeProblem(w, wire.Problem{
			Status: http.StatusMethodNotAllowed, Detail: "a file is uploaded with PUT; POST is for what its path ends in: /rollback or /verify",
		})
	}
}

// rollBack exchanges a file for its previous version.
func (a *api) rollBack(w http.ResponseWriter, r *http.Request, category, path string) {
	file, err := a.Content.RollBack(r.Context(), content.Rollback{
		Category: category, Path: path, If: condition(r.Header), Also: a.auditFile(r.Context(), "content.rollback"),
	})
	if err != nil {
		a.contentError(w, r, err)
		return
	}
	a.stored(w, r, file, content.Replaced)
}

// verify reads a file from the disk and compares it with its digests.
func (a *api) verify(w http.ResponseWriter, r *http.Request, category, path string) {
	err := content.CheckPath(category, path)
	var verdict content.Verdict
	if err == nil {
		verdict, err = a.Content.Verify(r.Context(), category, path)
	}
	if err != nil {
		a.contentError(w, r, err)
		return
	}
	a.writeJSON(w, r, http.StatusOK, verdict)
}

// auditFile notes what was done to a file.
func (a *api) auditFile(ctx context.Context, action string) content.Also {
	who := caller(ctx)
	return func(ctx context.Context, tx *ent.Tx, e content.Edit) error {
		act := store.Act{Action: action, Subject: subjectOf(e.After), Detail: string(e.Change), After: e.After}
		if e.Before != nil {
			act.Before = e.Before
		}
		return store.Audit(ctx, tx, who.Actor, act)
	}
}

func subjectOf(f *wire.File) string { return "content/" + f.Category + "/" + f.Path }

// condition reads the headers of a conditional write.
func condition(h http.Header) content.Condition {
	return content.Condition{
		IfMatch: strings.Join(h.Values("If-Match"), ","), IfNoneMatch: strings.Join(h.Values("If-None-Match"), ","),
	}
}

// malformed refuses a request for what is wrong with it, if anything is.
func malformed(w http.ResponseWriter, faults []wire.ProblemField) bool {
	if len(faults) == 0 {
		return false
	}
	writeProblem(w, wire.Problem{Status: http.StatusBadRequest, Detail: "the request is malformed", Errors: faults})
	return true
}

// parameters returns those of a query that are not known.
func parameters(query url.Values, known ...string) []wire.ProblemField {
	var faults []wire.ProblemField
	for name := range query {
		if !slices.Contains(known, name) {
			faults = append(faults, wire.ProblemField{Location: "query." + clip(name), Message: "unknown query parameter"})
		}
	}
	return faults
}

// plain says what a body cannot be: a part of a file (RFC 9110, section 14.5), or an encoded form of it.
func plain(h http.Header) []wire.ProblemField {
	var faults []wire.ProblemField
	for _, header := range []struct{ name, fault string }{
		{"Content-Range", "an upload is of a whole file; content-uploads takes one piece by piece"},
		{"Content-Encoding", "an upload is of the file as it is"},
	} {
		if v := h.Get(header.name); v != "" && v != "identity" {
			faults = append(faults, wire.ProblemField{Location: "header." + header.name, Message: header.fault, Value: clip(v)})
		}
	}
	return faults
}

// announced returns the SHA-256 that Repr-Digest or Content-Digest announces, which are the same for a body that is
// the whole of a file (RFC 9530, sections 2 and 3), or nil.
func announced(h http.Header) (digest *[32]byte, faults []wire.ProblemField) {
	for _, name := range []string{"Repr-Digest", "Content-Digest"} {
		sum, fault := sha256Of(h.Values(name))
		if sum != nil && digest != nil && *sum != *digest {
			fault = "not the digest that Repr-Digest announces"
		}
		if fault != "" {
			faults = append(faults, wire.ProblemField{Location: "header." + name, Message: fault})
		}
		if sum != nil {
			digest = sum
		}
	}
	return digest, faults
}

// sha256Of reads a dictionary of digests (RFC 9530), or says what is wrong with it. Without a sha-256 there is nothing
// to check: nil.
func sha256Of(values []string) (sum *[32]byte, fault string) {
	for member := range strings.SplitSeq(strings.Join(values, ","), ",") {
		algorithm, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if algorithm != "sha-256" {
			continue
		}
		value, _, _ = strings.Cut(value, ";") // parameters
		text, isBytes := strings.CutPrefix(value, ":")
		text, ended := strings.CutSuffix(text, ":")
		bytes, err := base64.StdEncoding.Strict().DecodeString(text)
		if !isBytes || !ended || err != nil || len(bytes) != 32 {
			return nil, fmt.Sprintf("%.100q is not of the form sha-256=:BASE64:, as RFC 9530 has it", member)
		}
		sum = (*[32]byte)(bytes)
	}
	return sum, ""
}
