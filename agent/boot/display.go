package boot

import "strings"

// maxDisplay bounds a text on the console, in characters: three lines of a serial console.
const maxDisplay = 240

// display makes a text fit to follow echo in a script. What remains are letters, digits and a few signs that neither
// iPXE nor GRUB acts on: no $ or quotes, no backslash, no word that is ;, && or || or begins a comment, and no dash
// at the front, where it would be an option. Quotes and controls vanish, other characters show as a question mark.
func display(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case b.Len() >= maxDisplay:
			b.WriteString("...")
			return strings.TrimLeft(strings.Join(strings.Fields(b.String()), " "), "- ")
		case r < 0x80 && only(string(r), alphanumeric+" .,:/_()+=@%-"):
			b.WriteRune(r)
		case strings.ContainsRune("\"'`", r):
		case r < ' ' || r == 0x7f:
			b.WriteByte(' ')
		default:
			b.WriteByte('?')
		}
	}
	return strings.TrimLeft(strings.Join(strings.Fields(b.String()), " "), "- ")
}
