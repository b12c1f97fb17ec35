// Package digits is a small flow-matching model of handwritten digits.
package digits
