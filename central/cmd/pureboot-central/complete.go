package main

// eitherWay are the fields that a list can be sorted by, and the same the other way round.
func eitherWay[T ~string](fields ...T) (orders []string) {
	for _, field := range fields {
		orders = append(orders, string(field), "-"+string(field))
	}
	return orders
}
