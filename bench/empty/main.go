// Command empty does nothing: how long a Go program takes to start and end is the floor of every program here. It is built with
// the Go runtime's defaults.
package main

func main() {}
