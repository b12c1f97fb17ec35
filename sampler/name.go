package sampler

import "fmt"

// name returns the i-th name of an enumeration, for its String method.
func name[E ~uint8](typ string, i E, names ...string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s(%d)", typ, uint8(i))
}
