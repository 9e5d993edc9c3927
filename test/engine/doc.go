// Package engine holds the engine's service for containers to its word, with real images in a real store: what a container is given, what it prints, how it ends,
// and what is left when anything of it is killed.
package engine
