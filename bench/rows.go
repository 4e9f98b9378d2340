package main

import "slices"

// The labels that several rows have.
const (
	served    = "served right"
	inTime    = "all served"
	ofIdeal   = "all served ÷ ideal"
	firstByte = "first byte, p50"
	gets      = "upstream GETs"
	others    = "other upstream requests"
	upstream  = "upstream bytes ÷ size"
	ofRange   = "upstream bytes of the range ÷ its length"
	excess    = "upstream bytes beyond 1.05x + 1 MiB per range"
)

// wan is the link of most rows. A transfer of 32 MiB takes 4.2 seconds.
var wan = link{rate: 8e6}

// allRows returns the rows in their order. The quick ones are smaller.
func allRows(quick, huge bool) []*row {
	size := int64(32 << 20)
	if quick {
		size = 4 << 20
	}
	return slices.Concat(
		herdRows(size), rangeRows(size), ownerRows(size), faultRows(size),
		crashRows(size/2), diskRows(), wanRows(), budgetRows(quick), manyRows(quick), memoryRows(huge), warmRows(),
	)
}
