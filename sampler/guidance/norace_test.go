//go:build !race

package guidance

const raceEnabled = false
