// Package lifecycle holds the rules of a node's life: how its MAC addresses are written, which states it may move
// between, what the events it reports do to it, and which script its firmware is given.
//
// Everything here is pure: central applies the rules to the truth, an agent to its copy while central is away, and
// both come to the same answer.
package lifecycle
