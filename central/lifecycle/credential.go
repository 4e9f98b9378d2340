package lifecycle

import "crypto/subtle"

// Credential is how central knows an agent: by the hash of its secret, and of a second one while the agent changes from the
// one to the other. It is a value: what a method returns takes its place. The zero Credential opens for nobody.
//
// A rotation goes over a link that loses messages, between two sides that crash and may come back as an older self. So
// neither side ever has to know what the other knows: central takes both secrets until the new one was used, the agent
// keeps both for good, and changes to the other when the one it uses is refused.
type Credential struct {
	Current  string // hash of the secret that was used last
	Next     string // of the one that the agent announced; empty: none
	Rotation string // id of the rotation that the agent is asked for; empty: none
}

// Rotate asks for a rotation. One that is under way begins anew: no secret that was made before somebody asked remains.
func (c Credential) Rotate(id string) Credential {
	c.Rotation, c.Next = id, ""
	return c
}

// Announce takes the hash of the secret that the agent has made for a rotation. What was made for another one is not
// taken.
func (c Credential) Announce(rotation, hash string) Credential {
	if c.Rotation != "" && rotation == c.Rotation && hash != c.Current {
		c.Next = hash
	}
	return c
}

// Use says whether the secret with this hash opens central, and what is known after its use: the next one, once used, is
// the only one. Hashes are compared in constant time.
func (c Credential) Use(hash string) (after Credential, ok bool) {
	switch {
	case hash == "":
		return c, false
	case equal(c.Current, hash):
		return c, true
	case equal(c.Next, hash):
		return Credential{Current: hash}, true
	}
	return c, false
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
