//go:build !amd64

package main

func int80(uintptr) string { return "none" }
