// Package image gives hostile images, layers and registries to the real programs and looks from outside whether they reached anything.
//
//	go test ./test/attack/image       # root
//
// Each attack is refused with a sentence of its own, or handled in a way that the test spells out; nothing outside of the directory that an image belongs in
// ever changes; nothing is left behind. Where it can be shown that an attack works against somebody careless, a test shows it.
//
// Security: what the attacks are aimed at are files of the tests.
package image
