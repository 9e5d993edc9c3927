// Package api tests the engine's API with the clients that people have: the real docker command, of Debian and newer ones where they are installed, over a unix socket.
//
// TestMain compiles the programs that the engine starts; newEngine serves an engine of the test's own process on a socket of the test.
package api
