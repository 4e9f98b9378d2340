// Package boot turns what is known of a machine into what its firmware runs: an iPXE script, a grub.cfg, or a template
// of its workflow with its own values in it.
//
// Everything here is pure: the caller brings the record, the token and the time, and sends what comes back. There is
// one file under templates for each kind of script. A script is never refused: whatever is wrong, the machine is told
// so on its console and boots its local disk, since an error would leave it at a firmware prompt.
//
// Text that may come from a stranger reaches a script in two ways only. What is shown passes through display, which
// keeps a small alphabet without any character that iPXE or GRUB acts on. What is used passes a check that refuses it,
// naming the field. Scripts hold no quoting beyond that, because iPXE has none.
package boot
