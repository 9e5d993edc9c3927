// Command empty does nothing: how long a Go program takes to start and end is the floor of every program here.
package main

func main() {}
