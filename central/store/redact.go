package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// redacted stands for a secret.
const redacted = "(redacted)"

// secretWords are in the names of what may hold a secret.
const secretWords = `passw|passphrase|secret|token|credential|private.?key|api.?key|psk`

var (
	// secretName is what a parameter or a field is called that may hold a secret. Hashes are not left out of this.
	secretName = regexp.MustCompile(`(?i)` + secretWords)

	// assignment is such a name and its value within a text, as on a kernel's command line or in a query.
	assignment = regexp.MustCompile(`(?i)([^\s=?&;]*(?:` + secretWords + `)[^\s=?&;]*=)[^\s&;]+`)

	// userInfo is a password in a URL, wherever one stands.
	userInfo = regexp.MustCompile(`(://[^/@:\s"]*):[^/@\s"]*@`)
)

// image encodes the state of something for the audit, as JSON without the secrets that its names, its texts and URLs tell
// of.
func image(of any) ([]byte, error) {
	text, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	if !secretName.Match(text) && !userInfo.Match(text) {
		return text, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("redact: %w", err)
	}
	return json.Marshal(redact("", v))
}

// redact returns a JSON value, of a field with a name, without secrets. Numbers, truths and empty texts are none.
func redact(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = redact(name, value)
		}
	case []any:
		for i, value := range v {
			v[i] = redact(name, value)
		}
	case string:
		if v != "" && secretName.MatchString(name) {
			return redacted
		}
		return assignment.ReplaceAllString(userInfo.ReplaceAllString(v, "$1:"+redacted+"@"), "$1"+redacted)
	}
	return v
}
