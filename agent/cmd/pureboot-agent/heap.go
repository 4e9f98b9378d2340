package main

import "runtime"

// slack is how many bytes of garbage may lie about, whatever the size of the heap.
const slack = 32 << 20

// holdHeap keeps the collector from running when it has little to collect. The heap of an agent is a few megabytes, so that
// the connections of a rack that powers on double it: the collector began in the midst of their requests and had each of
// them help, for 25 ms until the first bytes went out. What counts as heap here is never touched, and takes no memory.
// The caller calls release when it is done.
func holdHeap() (release func()) {
	untouched := make([]byte, slack)
	return func() { runtime.KeepAlive(untouched) }
}
