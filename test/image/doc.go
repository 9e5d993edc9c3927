// Package image holds the image service to what its users count on, with real registries and real peers: what is pulled is what was pushed, by whatever tool; a pull
// that is killed at any moment, or that fills the disk, leaves a store without a fault, from which the next pull goes on.
package image
